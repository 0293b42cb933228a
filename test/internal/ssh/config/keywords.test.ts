import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Keywords from "../../../../src/internal/ssh/config/keywords.ts"
import * as Line from "../../../../src/internal/ssh/config/line.ts"

/** What a line comes to: its values, or what is wrong with it. */
const valuesOf = (text: string): ReadonlyArray<string> | string => {
  const line = Result.getOrThrow(Line.parse(text))!
  const keyword = Keywords.find(line.keyword)
  if (keyword === undefined || keyword === "ignored") return keyword ?? "unknown"
  return Result.merge(keyword.parse(line))
}

describe("the values of keywords", () => {
  const table: ReadonlyArray<readonly [text: string, values: ReadonlyArray<string> | string]> = [
    ["HashKnownHosts TRUE", ["yes"]],
    ["HashKnownHosts maybe", "\"maybe\" is none of yes, no"],
    ["StrictHostKeyChecking off", ["no"]],
    ["Compression always", "\"always\" is none of yes, no"],
    ["Port 22", ["22"]],
    ["Port ssh", "\"ssh\" is no port"],
    ["ConnectionAttempts 3", ["3"]],
    ["ConnectionAttempts 99999999999", "\"99999999999\" is no number"],
    ["ServerAliveInterval 1h30M5", ["5405"]],
    ["ServerAliveInterval none", []],
    ["ServerAliveInterval 1y", "\"1y\" is no time"],
    ["ServerAliveInterval 9999999w", "\"9999999w\" is no time"],
    ["ConnectTimeout \"\"", "its argument is missing"],
    ["RekeyLimit 1.5g 1h", [`${1.5 * 1024 ** 3}`, "3600"]],
    ["RekeyLimit 1G soon", "\"soon\" is no time"],
    ["RekeyLimit 1G 1h x", "\"x\" is one word too many"],
    ["RekeyLimit much", "\"much\" is no amount of data"],
    ["UserKnownHostsFile a none", "\"none\" has to stand alone"],
    ["UserKnownHostsFile a \"\"", "a word is empty"],
    ["UserKnownHostsFile NONE", ["NONE"]],
    ["SetEnv A=1 B= A=2", ["A=1", "B="]],
    ["SetEnv A", "\"A\" has no \"=\""],
    ["SendEnv A=1", "\"A=1\" is no name of a variable"],
    ["HostKeyAlias Alias", ["alias"]],
    ["ProxyCommand = nc \"%h\" # %p", ["nc \"%h\" # %p"]],
    ["ForwardAgent FALSE", ["no"]],
    ["ForwardAgent /run/Agent", ["/run/Agent"]],
    ["DSAAuthentication no", ["no"]],
    ["FingerprintHash md5 whatever", ["md5", "whatever"]],
    ["Protocol 1", "ignored"],
    ["Frobnicate 1", "unknown"],
    ["ProxyJump none", ["none"]],
    ["ProxyJump joe@a:22,ssh://j%20x@b:23/,[::1] # and no more", ["joe@a:22,j x@b:23,[::1]"]],
    ["ProxyJump a,", "\"\" names no server to jump through"],
    ["ProxyJump @a", "\"@a\" names no server to jump through"],
    ["ProxyJump a:0", "\"a:0\" names no server to jump through"],
    ["ProxyJump ssh://a/path", "\"ssh://a/path\" names no server to jump through"],
    ["ProxyJump ssh://%zz@a", "\"ssh://%zz@a\" names no server to jump through"],
    ["ProxyJump -oProxyCommand=x", "\"-oProxyCommand=x\" names no server to jump through"],
    ["ProxyJump a$(x)", "\"a$(x)\" names no server to jump through"]
  ]
  for (const [text, values] of table) {
    it(`${text} is ${typeof values === "string" ? `refused: ${values}` : values.join(" | ")}`, () => {
      assert.deepStrictEqual(valuesOf(text), values)
    })
  }

  it("do not take for ever to be refused", () => {
    for (const text of [`ConnectTimeout ${"1".repeat(50_000)}!`, `ProxyJump ${"a,".repeat(20_000)}`]) {
      assert.isString(valuesOf(text))
    }
  })
})

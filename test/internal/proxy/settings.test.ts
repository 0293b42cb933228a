import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Host from "effect/net/Host"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Target from "../../../src/internal/net/target.ts"
import { checkTarget, type ProxyInput, resolve } from "../../../src/internal/proxy/settings.ts"

const understood = (input: ProxyInput) => {
  const { address, credentials, protocol } = Result.getOrThrow(resolve(input))
  return [
    protocol,
    Host.formatHostPort(address),
    credentials?.username,
    credentials?.password === undefined ? undefined : Redacted.value(credentials.password)
  ]
}

const whyNot = (input: ProxyInput) => {
  const result = resolve(input)
  return Result.isFailure(result) ? result.failure.why : assert.fail("it was understood")
}

describe("proxy settings", () => {
  it("understands a URL", () => {
    const cases: ReadonlyArray<readonly [string, ReadonlyArray<string | undefined>]> = [
      ["socks5://127.0.0.1:9050", ["socks5", "127.0.0.1:9050", undefined, undefined]],
      ["SOCKS5H://Proxy.Test", ["socks5h", "proxy.test:1080", undefined, undefined]],
      ["socks4://proxy.test/", ["socks4", "proxy.test:1080", undefined, undefined]],
      ["socks4a://me@proxy.test:1", ["socks4a", "proxy.test:1", "me", undefined]],
      ["http://proxy.test", ["http", "proxy.test:1080", undefined, undefined]],
      ["http://proxy.test:80", ["http", "proxy.test:80", undefined, undefined]],
      ["https://proxy.test", ["https", "proxy.test:443", undefined, undefined]],
      [" http://u:p@proxy.test:3128\n", ["http", "proxy.test:3128", "u", "p"]],
      ["http://u:@proxy.test", ["http", "proxy.test:1080", "u", undefined]],
      ["socks5://@proxy.test", ["socks5", "proxy.test:1080", undefined, undefined]],
      ["socks5://u%3A1:p%40%2F%25%D1%8E@proxy.test", ["socks5", "proxy.test:1080", "u:1", "p@/%ю"]],
      ["socks5://u:p@ss:w@proxy.test", ["socks5", "proxy.test:1080", "u", "p@ss:w"]],
      ["socks5://u:p@[2001:DB8::1]:1081", ["socks5", "[2001:db8::1]:1081", "u", "p"]],
      ["http://[::1]", ["http", "[::1]:1080", undefined, undefined]],
      ["http://bücher.test:8080", ["http", "xn--bcher-kva.test:8080", undefined, undefined]]
    ]
    for (const [url, expected] of cases) {
      assert.deepStrictEqual(understood(url), expected, url)
      assert.deepStrictEqual(understood(Redacted.make(url)), expected, url)
    }
  })

  it("understands settings in parts, with an IPv6 host with or without brackets", () => {
    const password = Redacted.make("p@")
    assert.deepStrictEqual(
      understood({ protocol: "socks5", host: "proxy.test", username: "u", password }),
      ["socks5", "proxy.test:1080", "u", "p@"]
    )
    assert.deepStrictEqual(understood({ protocol: "http", host: "::1", port: 3128 })[1], "[::1]:3128")
    assert.deepStrictEqual(understood({ protocol: "https", host: "[::1]" })[1], "[::1]:443")
  })

  it("says what is wrong with settings that cannot be used", () => {
    const password = (value: string) => Redacted.make(value)
    const socks5 = { protocol: "socks5", host: "proxy.test" } as const
    const http = { protocol: "http", host: "proxy.test" } as const
    const shape = "expected protocol://[user:password@]host[:port]"
    const rfc1929 = "SOCKS5 wants a username and a password of 1 to 255 bytes (RFC 1929)"
    const cases: ReadonlyArray<readonly [ProxyInput, string]> = [
      ["", shape],
      ["127.0.0.1:1080", shape],
      ["socks5://", shape],
      ["socks5://u:p@", shape],
      ["socks5://proxy.test:port", shape],
      ["socks5://::1:1080", shape],
      ["socks5://proxy.test/path", shape],
      ["ftp://proxy.test", "the protocol is none of socks5, socks5h, socks4, socks4a, http, https"],
      ["toString://proxy.test", "the protocol is none of socks5, socks5h, socks4, socks4a, http, https"],
      ["socks5://proxy.test:0", "port 0 cannot be dialled"],
      ["socks5://proxy.test:70000", "port must be an integer from 0 through 65535"],
      ["socks5://pro xy.test", "invalid domain name"],
      ["socks5://u:%zz@proxy.test", "the credentials hold a % that is no percent-encoding; write %25"],
      ["socks5://u@proxy.test", "SOCKS5 wants a password with the username (RFC 1929)"],
      ["socks5://:p@proxy.test", "there is a password and no username"],
      [{ ...socks5, username: "", password: password("p") }, rfc1929],
      [{ ...socks5, username: "u", password: password("") }, rfc1929],
      [{ ...socks5, username: "u".repeat(256), password: password("p") }, rfc1929],
      [{ ...socks5, username: "u", password: password("ю".repeat(128)) }, rfc1929],
      ["socks4://u:p@proxy.test", "SOCKS4 has no passwords"],
      ["socks4://u%00v@proxy.test", "the username holds a NUL"],
      ["http://u%3Av:p@proxy.test", "the username holds a colon (RFC 7617)"],
      ["http://u:p%0d%0aX-Evil:1@proxy.test", "the credentials hold a control character (RFC 7617)"],
      [{ ...http, username: "u\n" }, "the credentials hold a control character (RFC 7617)"]
    ]
    for (const [input, why] of cases) assert.strictEqual(whyNot(input), why, JSON.stringify(input))
    assert.isTrue(
      Result.isSuccess(resolve({ ...socks5, username: "u".repeat(255), password: password("p".repeat(255)) }))
    )
  })

  it.effect.prop(
    "never shows a password, however broken the URL is",
    {
      url: Schema.TemplateLiteral([
        Schema.Literals(["", "socks5:/", "socks5://", "socks9://", "http://", "socks4://", "://"]),
        Schema.Literals(["", "user:", "%zz:", ":", "us%0aer:", "@"]),
        "hunter2",
        Schema.Literals(["", "@", "@proxy.test", "@proxy.test:port", "@[::1", "@:1", "@proxy.test:0", "@a b", "%00@c"])
      ])
    },
    ({ url }) =>
      Effect.sync(() => {
        const result = resolve(url)
        if (Result.isSuccess(result)) return
        assert.notInclude(`${result.failure.message}${JSON.stringify(result.failure)}`, "hunter2")
      })
  )

  it("refuses targets that a proxy cannot be asked for", () => {
    const ask = (proxy: string, target: Target.DialTarget) => {
      const result = checkTarget(
        Result.getOrThrow(resolve(proxy)),
        Result.getOrThrow(Target.parse(target))
      )
      return Result.isSuccess(result) ? "fine" : result.failure.message
    }
    for (const proxy of ["socks5://p.test", "socks4a://p.test", "http://p.test"]) {
      assert.strictEqual(ask(proxy, "db.test:1"), "fine")
      assert.strictEqual(ask(proxy, "10.0.0.1:1"), "fine")
      assert.strictEqual(
        ask(proxy, { path: "/run/db.sock" }),
        "\"/run/db.sock\" is not usable: a unix socket cannot be reached through a proxy"
      )
      assert.strictEqual(
        ask(proxy, "[fe80::1%eth0]:1"),
        "\"[fe80::1%eth0]:1\" is not usable: the zone of an IPv6 address means nothing to a proxy"
      )
    }
    assert.strictEqual(ask("socks5://p.test", "[::1]:1"), "fine")
    assert.strictEqual(ask("http://p.test", "0.0.0.7:1"), "fine")
    assert.strictEqual(
      ask("socks4://p.test", "[::1]:1"),
      "\"[::1]:1\" is not usable: SOCKS4 carries no IPv6 addresses; use socks5 or http"
    )
    assert.strictEqual(
      ask("socks4://p.test", "0.0.0.7:1"),
      "\"0.0.0.7:1\" is not usable: SOCKS4 takes addresses that begin with 0.0.0 for names"
    )
  })

  it("never sees a name that the protocols cannot carry, because no such target is understood", () => {
    for (const target of [`${"a".repeat(63)}.`.repeat(4) + "b:1", "a\0b:1", "a b:1", "a\r\nb:1"]) {
      assert.isTrue(Result.isFailure(Target.parse(target)), target)
    }
  })
})

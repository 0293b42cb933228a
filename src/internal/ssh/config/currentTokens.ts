import * as Result from "effect/Result"
import * as Crypto from "node:crypto"
import * as Jump from "./jump.ts"
import type { Machine } from "./machine.ts"
import type { Values } from "./reading.ts"
import * as Tokens from "./tokens.ts"

const digestOf = (parts: ReadonlyArray<string>) => Crypto.createHash("sha1").update(parts.join("")).digest("hex")

/** What the tokens stand for, at any time: what is not known yet has its default. */
export const currentTokens = (values: Values, host: string, machine: Machine): Result.Result<Tokens.Tokens, string> => {
  const now = (name: string) => values.get(name)?.values[0]
  return Result.map(Tokens.expandTokens(now("hostname") ?? host, { h: host }), (hostname) => {
    const port = now("port") ?? "22"
    const username = now("user") ?? machine.username
    const jump = Result.getOrElse(Jump.parse(now("proxyjump") ?? "none"), () => []).at(-1)?.host ?? ""
    return {
      C: digestOf([machine.hostname, hostname, port, username, jump]),
      L: machine.hostname.split(".")[0]!,
      d: machine.home,
      h: hostname,
      i: `${machine.uid}`,
      j: jump,
      k: now("hostkeyalias") ?? host,
      l: machine.hostname,
      n: host,
      p: port,
      r: username,
      u: machine.username
    }
  })
}

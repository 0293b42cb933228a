import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import { ConnectTimeout, InvalidTarget, Refused } from "../../../src/errors/DialError.ts"
import { guardErrors } from "../../../src/internal/net/owner.ts"
import * as Target from "../../../src/internal/net/target.ts"
import { request } from "../../../src/internal/proxy/httpConnectServer.ts"
import type { Request } from "../../../src/internal/proxy/request.ts"
import { fragments, Sizes } from "../../support/fragments.ts"
import { ScriptedDuplex, turn } from "../../support/scripted.ts"

const credentials = { username: "ю", password: Redacted.make("s3cret") }
const login = `Proxy-Authorization: Basic ${Buffer.from("ю:s3cret").toString("base64")}\r\n`

/** Has a client say something, in pieces, and then its end; gives what was understood, answered and left. */
const say = Effect.fnUntraced(function*(
  said: string,
  options: { readonly sizes?: ReadonlyArray<number>; readonly login?: boolean } = {}
) {
  const duplex = guardErrors(new ScriptedDuplex())
  const asking = yield* Effect.forkChild(request(duplex, options.login === true ? credentials : undefined), {
    startImmediately: true
  })
  for (const piece of fragments(Buffer.from(said), options.sizes ?? [1])) {
    duplex.arrive(piece)
    yield* turn
  }
  duplex.endInput()
  const exit = yield* Fiber.await(asking)
  let rest = ""
  for (let chunk: Buffer | null; (chunk = duplex.read()) !== null;) rest += String(chunk)
  return { duplex, exit, rest, status: () => /^HTTP\/1\.1 (\d+) /.exec(duplex.sent)?.[1] }
})

const asked = (exit: Exit.Exit<Request, unknown>): Request =>
  Exit.isSuccess(exit) ? exit.value : assert.fail(String(exit.cause))

const failure = (exit: Exit.Exit<unknown, { readonly _tag: string; readonly message: string }>) => {
  if (Exit.isSuccess(exit)) return assert.fail("it was understood")
  const error = Cause.findErrorOption(exit.cause)
  return error._tag === "Some" ? error.value : assert.fail(String(exit.cause))
}

const requests = {
  "a name": [false, "CONNECT db.test:5432 HTTP/1.1\r\nHost: db.test:5432\r\n\r\n", "db.test:5432"],
  "an IPv6 address, over HTTP/1.0": [false, "CONNECT [2001:db8::1]:80 HTTP/1.0\r\n\r\n", "[2001:db8::1]:80"],
  "lines that end with LF alone": [false, "CONNECT db.test:5432 HTTP/1.1\nHost: x\n\n", "db.test:5432"],
  "a login": [true, `CONNECT db.test:5432 HTTP/1.1\r\nHost: x\r\n${login}\r\n`, "db.test:5432"],
  "a login in other cases": [
    true,
    `CONNECT db.test:5432 HTTP/1.1\r\n${
      login.replace("Basic", "basic").replace("Proxy-Authorization", "proxy-authorization")
    }\r\n`,
    "db.test:5432"
  ]
} as const

const refusals = {
  "another method": [false, "GET http://db.test/ HTTP/1.1\r\n\r\n", "405"],
  "no HTTP": [false, "SSH-2.0-OpenSSH_9.2\r\n\r\n", "400"],
  "a target without a port": [false, "CONNECT db.test HTTP/1.1\r\n\r\n", "400"],
  "a target that nobody can dial": [false, "CONNECT db.test:0 HTTP/1.1\r\n\r\n", "400"],
  "no login": [true, "CONNECT db.test:5432 HTTP/1.1\r\n\r\n", "407"],
  "a wrong login": [
    true,
    `CONNECT db.test:5432 HTTP/1.1\r\nProxy-Authorization: Basic ${Buffer.from("ю:wrong").toString("base64")}\r\n\r\n`,
    "407"
  ],
  "a login by other means": [true, "CONNECT db.test:5432 HTTP/1.1\r\nProxy-Authorization: Bearer x\r\n\r\n", "407"]
} as const

describe("the server's side of HTTP CONNECT", () => {
  for (const [name, [needsLogin, said, target]] of Object.entries(requests)) {
    it.effect.prop(
      `understands ${name}, however it is cut, and leaves what follows`,
      { sizes: Sizes },
      ({ sizes }) =>
        Effect.gen(function*() {
          const { exit, rest, duplex } = yield* say(`${said}early`, { sizes, login: needsLogin })
          const request = asked(exit)
          assert.strictEqual(Target.format(request.target), target)
          assert.strictEqual(rest, "early")
          assert.strictEqual(duplex.sent, "")
          assert.strictEqual(request.grant(), 200)
          assert.strictEqual(duplex.sent, "HTTP/1.1 200 OK\r\n\r\n")
        }),
      { arbitrary: { runs: 20 } }
    )
  }

  for (const [name, [needsLogin, said, status]] of Object.entries(refusals)) {
    it.effect(`refuses ${name}`, () =>
      Effect.gen(function*() {
        const refused = yield* say(said, { login: needsLogin })
        assert.strictEqual(refused.status(), status)
        assert.match(refused.duplex.sent, /Content-Length: 0\r\n\r\n$/)
        assert.strictEqual(refused.duplex.sent.includes("Proxy-Authenticate: Basic"), status === "407")
        const { _tag, message } = failure(refused.exit)
        assert.strictEqual(_tag, "Malformed")
        assert.notInclude(message, "s3cret")
      }))
  }

  it.effect("says why a target was not reached", () =>
    Effect.gen(function*() {
      const { duplex, exit } = yield* say("CONNECT db.test:5432 HTTP/1.1\r\n\r\n")
      const request = asked(exit)
      const reasons = [
        new Refused({ address: "db.test:5432" }),
        new ConnectTimeout({ after: Duration.seconds(1), phase: "the test" }),
        new InvalidTarget({ input: "db.test:5432", why: "a test" }),
        418
      ]
      const codes = reasons.map((reason) => request.refuse(reason))
      assert.deepStrictEqual(codes, [502, 504, 400, 418])
      assert.deepStrictEqual(
        [...duplex.sent.matchAll(/^HTTP\/1\.1 (\d+) [^\r]+\r\nContent-Length: 0\r$/gm)].map(([, code]) => Number(code)),
        codes
      )
    }))

  it.effect("ends with who ends, and does not read for ever", () =>
    Effect.gen(function*() {
      assert.strictEqual(failure((yield* say("")).exit)._tag, "EndOfStream")
      assert.strictEqual(failure((yield* say("CONNECT db.test:5432 HTTP/1.1\r\n")).exit)._tag, "Malformed")
      const long = yield* say(`CONNECT db.test:5432 HTTP/1.1\r\nX: ${"x".repeat(70_000)}`, { sizes: [4096] })
      assert.match(failure(long.exit).message, /more than 65536 bytes/)
    }))
})

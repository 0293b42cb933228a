import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import {
  ConnectTimeout,
  type DialErrorReason,
  InvalidTarget,
  NameNotFound,
  Refused,
  TunnelRefused,
  Unknown,
  Unreachable
} from "../../../src/errors/DialError.ts"
import { ChannelRefused } from "../../../src/errors/SshError.ts"
import { guardErrors } from "../../../src/internal/net/owner.ts"
import * as Target from "../../../src/internal/net/target.ts"
import type { Request } from "../../../src/internal/proxy/request.ts"
import { request } from "../../../src/internal/proxy/socksServer.ts"
import { fragments, Sizes } from "../../support/fragments.ts"
import { ScriptedDuplex, turn } from "../../support/scripted.ts"

const bytes = (hex: string) => Buffer.from(hex.replaceAll(" ", ""), "hex")

const credentials = { username: "ю", password: Redacted.make("s3cret") }
const right = "01 02 d18e 06 733363726574"

/** Has a client say something, in pieces, and then more or its end; gives what was understood and what was answered. */
const say = Effect.fnUntraced(function*(
  said: Uint8Array,
  options: {
    readonly sizes?: ReadonlyArray<number>
    readonly login?: boolean
    readonly rest?: string
    readonly ends?: boolean
  } = {}
) {
  const duplex = guardErrors(new ScriptedDuplex())
  const asking = yield* Effect.forkChild(request(duplex, options.login === true ? credentials : undefined), {
    startImmediately: true
  })
  for (const piece of fragments(Buffer.concat([said, Buffer.from(options.rest ?? "")]), options.sizes ?? [1])) {
    duplex.arrive(piece)
    yield* turn
  }
  if (options.ends !== false) duplex.endInput()
  const exit = yield* Fiber.await(asking)
  yield* turn
  return {
    duplex,
    exit,
    answered: () => Buffer.concat(duplex.written).toString("hex"),
    rest: () => {
      let rest = ""
      for (let chunk: Buffer | null; (chunk = duplex.read()) !== null;) rest += String(chunk)
      return rest
    }
  }
})

const asked = (exit: Exit.Exit<Request, unknown>): Request =>
  Exit.isSuccess(exit) ? exit.value : assert.fail(String(exit.cause))

const failure = (exit: Exit.Exit<unknown, { readonly _tag: string; readonly message: string }>) => {
  if (Exit.isSuccess(exit)) return assert.fail("it was understood")
  const error = Cause.findErrorOption(exit.cause)
  return error._tag === "Some" ? error.value : assert.fail(String(exit.cause))
}

const requests = {
  "an IPv4 address of SOCKS5": [false, "05 01 00 05010001 7f000001 1538", "127.0.0.1:5432", "0500"],
  "an IPv6 address of SOCKS5, and several methods": [
    false,
    "05 02 0200 05010004 20010db8000000000000000000000001 0050",
    "[2001:db8::1]:80",
    "0500"
  ],
  "a name of SOCKS5": [false, "05 01 00 05010003 07 64622e74657374 1538", "db.test:5432", "0500"],
  "a name of SOCKS5 behind a login": [
    true,
    `05 02 0002 ${right} 05010003 07 64622e74657374 1538`,
    "db.test:5432",
    "05020100"
  ],
  "an address of SOCKS4": [false, "04 01 1538 7f000001 6d6500", "127.0.0.1:5432", ""],
  "an address of SOCKS4 without a user": [false, "04 01 1538 7f000001 00", "127.0.0.1:5432", ""],
  "a name of SOCKS4a": [false, "04 01 1538 00000001 6d6500 64622e7465737400", "db.test:5432", ""]
} as const

describe("SOCKS server", () => {
  for (const [name, [login, said, target, answered]] of Object.entries(requests)) {
    it.live.prop(
      `understands ${name}, however it is cut, and leaves what follows`,
      { sizes: Sizes },
      ({ sizes }) =>
        Effect.gen(function*() {
          const said_ = bytes(said)
          const { answered: answer, exit, rest } = yield* say(said_, { sizes, login, rest: "early" })
          const { grant, target: wanted } = asked(exit)
          assert.strictEqual(Target.format(wanted), target)
          assert.strictEqual(answer(), answered)
          grant()
          assert.strictEqual(
            answer(),
            answered + (said_[0] === 5 ? "05000001000000000000" : "005a000000000000")
          )
          assert.strictEqual(rest(), "early")
        }),
      { arbitrary: { runs: 20 } }
    )

    it.live(`fails where ${name} is cut short, wherever`, () =>
      Effect.gen(function*() {
        const whole = bytes(said)
        for (let length = 0; length < whole.length; length++) {
          const { exit } = yield* say(whole.subarray(0, length), { login, sizes: [1000] })
          assert.include(["EndOfStream", "Malformed"], failure(exit)._tag)
        }
      }))
  }

  const refusals = {
    "a client that insists on a login": [false, "05 01 02", "05ff", "it insists on a login"],
    "a client without a login": [true, "05 01 00", "05ff", "it offers no username and password"],
    "a wrong password": [
      true,
      "05 01 02 01 02 d18e 06 733363726575",
      "05020101",
      "the username or the password is wrong"
    ],
    "a wrong username": [
      true,
      "05 01 02 01 02 d18f 06 733363726574",
      "05020101",
      "the username or the password is wrong"
    ],
    "BIND": [false, "05 01 00 05020001 7f000001 1538", "050005070001000000000000", "command 0x02 is not CONNECT"],
    "UDP ASSOCIATE": [
      false,
      "05 01 00 05030003 01 61 1538",
      "050005070001000000000000",
      "command 0x03 is not CONNECT"
    ],
    "another type of address": [
      false,
      "05 01 00 05010009",
      "050005080001000000000000",
      "0x09 is no type of address"
    ],
    "port 0": [
      false,
      "05 01 00 05010001 7f000001 0000",
      "050005080001000000000000",
      "port 0 cannot be dialled"
    ],
    "a name that is none": [
      false,
      "05 01 00 05010003 03 612062 1538",
      "050005080001000000000000",
      "a b"
    ],
    "no request behind the methods": [
      false,
      "05 01 00 04010001",
      "050005010001000000000000",
      "0x04 begins no request"
    ],
    "SOCKS4 where there is a login": [
      true,
      "04 01 1538 7f000001 6d6500",
      "005b000000000000",
      "SOCKS4 has no passwords"
    ],
    "BIND of SOCKS4": [false, "04 02 1538 7f000001 00", "005b000000000000", "command 0x02 is not CONNECT"]
  } as const

  for (const [name, [login, said, answered, detail]] of Object.entries(refusals)) {
    it.live(`refuses ${name}`, () =>
      Effect.gen(function*() {
        const { answered: answer, exit } = yield* say(bytes(said), { login, ends: false })
        const error = failure(exit)
        assert.strictEqual(error._tag, "Malformed")
        assert.include(error.message, detail)
        assert.strictEqual(answer(), answered)
      }))
  }

  it.live("says nothing to who does not speak SOCKS", () =>
    Effect.gen(function*() {
      const { answered, exit } = yield* say(Buffer.from("GET / HTTP/1.1\r\n\r\n"), { ends: false, sizes: [100] })
      assert.strictEqual(failure(exit).message, "0x47 begins no request of a SOCKS client (framing SOCKS)")
      assert.strictEqual(answered(), "")
    }))

  it.live("does not read a name of SOCKS4 for ever", () =>
    Effect.gen(function*() {
      const { exit } = yield* say(Buffer.concat([bytes("04 01 1538 7f000001"), Buffer.alloc(1000, "a")]), {
        ends: false,
        sizes: [1000]
      })
      assert.strictEqual(failure(exit).message, "more than 256 bytes (framing SOCKS)")
    }))

  it.live.prop(
    "neither hangs nor throws, whatever is said",
    {
      said: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))),
      version: Schema.Literals([4, 5])
    },
    ({ said, version }) =>
      Effect.gen(function*() {
        const { exit } = yield* say(Buffer.from([version, ...said]), { sizes: [3] })
        assert.isFalse(Exit.hasDies(exit))
      }),
    { arbitrary: { runs: 200 } }
  )

  it.live("keeps what is wrong with the password to itself", () =>
    Effect.gen(function*() {
      const { exit } = yield* say(bytes(`05 01 02 01 02 d18e 08 ${Buffer.from("hunter22").toString("hex")}`), {
        login: true,
        ends: false
      })
      assert.notInclude(failure(exit).message, "hunter22")
      assert.notInclude(failure(exit).message, "s3cret")
    }))

  const address = "db.test:5432"
  const codes: ReadonlyArray<readonly [number, DialErrorReason]> = [
    [5, new Refused({ address })],
    [4, new NameNotFound({ name: "db.test", code: "ENOTFOUND" })],
    [3, new Unreachable({ address, code: "ENETUNREACH" })],
    [4, new Unreachable({ address, code: "EHOSTUNREACH" })],
    [6, new ConnectTimeout({ after: Duration.seconds(1), phase: "the answer" })],
    [2, new TunnelRefused({ detail: "", cause: new ChannelRefused({ code: 1, detail: "" }) })],
    [1, new TunnelRefused({ detail: "", cause: new ChannelRefused({ code: 2, detail: "" }) })],
    [8, new InvalidTarget({ input: address, why: "" })],
    [1, new Unknown({ detail: "" })]
  ]
  for (const [code, reason] of codes) {
    it.live(`answers ${code} to ${reason._tag} (${reason.message})`, () =>
      Effect.gen(function*() {
        const five = yield* say(bytes(requests["a name of SOCKS5"][1]), { sizes: [1000] })
        asked(five.exit).refuse(reason)
        assert.strictEqual(five.answered(), `0500050${code}0001000000000000`)
        const four = yield* say(bytes(requests["a name of SOCKS4a"][1]), { sizes: [1000] })
        asked(four.exit).refuse(reason)
        assert.strictEqual(four.answered(), "005b000000000000")
      }))
  }

  it.live("leaves no listeners behind when it is interrupted", () =>
    Effect.gen(function*() {
      const duplex = guardErrors(new ScriptedDuplex())
      const before = duplex.eventNames()
      const asking = yield* Effect.forkChild(request(duplex), { startImmediately: true })
      duplex.arrive(bytes("05 02 00"))
      yield* turn
      yield* Fiber.interrupt(asking)
      assert.deepStrictEqual(duplex.eventNames(), before)
    }))
})

import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { inspect } from "node:util"
import { SocksClient } from "socks"
import { type ProxyInput, resolve } from "../../../src/internal/proxy/settings.ts"
import { Sizes } from "../../support/fragments.ts"
import { begin, reasonOf, shake } from "../../support/proxyHandshake.ts"
import { ScriptedDuplex, turn } from "../../support/scripted.ts"

const bytes = (hex: string) => Buffer.from(hex.replaceAll(" ", ""), "hex")

const plain = "socks5://proxy.test"
const withCredentials: ProxyInput = {
  protocol: "socks5",
  host: "proxy.test",
  username: "ю",
  password: Redacted.make("s3cret")
}
const socks4 = "socks4a://me@proxy.test"

const replies = {
  "without credentials": [plain, bytes("0500 05000001 7f000001 0050")],
  "with an IPv6 address": [plain, bytes("0500 05000004 20010db8000000000000000000000001 0050")],
  "with a name": [plain, bytes("0500 05000003 04 68657265 0050")],
  "with an empty name": [plain, bytes("0500 05000003 00 0050")],
  "with a long name": [plain, bytes(`0500 05000003 ff ${"61".repeat(255)} 0050`)],
  "with credentials": [withCredentials, bytes("0502 0100 05000001 00000000 0000")],
  "with credentials that nobody wants": [withCredentials, bytes("0500 05000001 00000000 0000")],
  "of SOCKS4": [socks4, bytes("005a 0000 00000000")]
} satisfies Record<string, readonly [ProxyInput, Buffer]>

/** What the client of `socks` makes of a reply when it is used plainly: fed byte by byte, until it says that it is done. */
const plainSocks = Effect.fnUntraced(function*(input: ProxyInput, reply: Uint8Array) {
  const duplex = new ScriptedDuplex()
  const proxy = Result.getOrThrow(resolve(input))
  const outcome = { established: false }
  const client = new SocksClient({
    command: "connect",
    destination: { host: "db.test", port: 5432 },
    proxy: {
      host: "proxy.test",
      port: 1080,
      type: proxy.kind === "socks5" ? 5 : 4,
      ...(proxy.credentials === undefined ? {} : { userId: proxy.credentials.username }),
      ...(proxy.credentials?.password === undefined ? {} : { password: Redacted.value(proxy.credentials.password) })
    },
    timeout: 60_000
  })
  client.on("established", () => outcome.established = true).on("error", () => {})
  client.connect(duplex.on("error", () => {}))
  let used = 0
  while (!outcome.established && used < reply.length && !duplex.destroyed) {
    duplex.emit("data", reply.subarray(used, ++used))
    yield* Effect.yieldNow
  }
  assert.isTrue(outcome.established, "socks did not accept it")
  return {
    rest: Buffer.from(reply.subarray(used)).toString(),
    sent: Buffer.concat(duplex.written).toString("hex")
  }
})

describe("the private part of socks that we use", () => {
  it("has the shape that we know", () => {
    assert.isFunction(Reflect.get(SocksClient.prototype, "onEstablishedTimeout"))
  })
})

describe("SOCKS handshake", () => {
  for (const [name, [proxy, reply]] of Object.entries(replies)) {
    it.live.prop(
      `accepts a reply ${name} in any pieces and leaves what follows it`,
      { early: Schema.String, sizes: Sizes },
      ({ early, sizes }) =>
        Effect.gen(function*() {
          const { exit, rest } = yield* shake(proxy, reply, { early, sizes })
          assert.isTrue(Exit.isSuccess(exit))
          assert.strictEqual(rest, Buffer.from(early).toString())
        }),
      { arbitrary: { runs: 30 } }
    )

    it.live(`refuses each beginning of a reply ${name}`, () =>
      Effect.gen(function*() {
        for (let size = 0; size < reply.length; size++) {
          const { exit } = yield* shake(proxy, reply.subarray(0, size), { sizes: [1000] })
          assert.strictEqual(
            reasonOf(exit).message,
            "the proxy's answer makes no sense: the connection ended before the answer was complete"
          )
        }
      }))

    it.live(`makes each change of one byte of a reply ${name} a reply or a typed error`, () =>
      Effect.gen(function*() {
        // of a long name only the ends decide anything
        const places = Array.from(reply.keys()).filter((at) => at < 20 || at >= reply.length - 3)
        for (const at of places) {
          for (const to of [0, 1, 2, 3, 4, 5, 90, 91, 0x7f, 0xff]) {
            const changed = Buffer.from(reply)
            changed[at] = to
            const { duplex, exit } = yield* shake(proxy, changed, { sizes: [1000] })
            if (Exit.isFailure(exit)) {
              assert.include(["ProxyRefused", "ProxyAuthentication", "ProxyProtocol"], reasonOf(exit)._tag)
            }
            assert.deepStrictEqual(duplex.eventNames(), ["error"], `${at}: ${to}`)
          }
        }
      }))

    it.live.prop(
      `takes no reply ${name}, changed or not, that socks by itself would not, and as many bytes of it`,
      {
        changes: Schema.Array(
          Schema.Struct({ at: Schema.Natural, to: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 })) })
        )
      },
      ({ changes }) =>
        Effect.gen(function*() {
          const changed = Buffer.from(reply)
          for (const { at, to } of changes) changed[at % changed.length] = to
          const { exit, rest, sent } = yield* shake(proxy, changed, { sizes: [1000], early: "early" })
          if (Exit.isFailure(exit)) return
          const oracle = yield* plainSocks(proxy, Buffer.concat([changed, Buffer.from("early")]))
          assert.strictEqual(rest, oracle.rest)
          assert.strictEqual(sent.toString("hex"), oracle.sent)
        }),
      { arbitrary: { runs: 60 } }
    )

    it.live.prop(
      `survives any change to a reply ${name}`,
      {
        changes: Schema.NonEmptyArray(
          Schema.Struct({ at: Schema.Natural, to: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 })) })
        ),
        sizes: Sizes
      },
      ({ changes, sizes }) =>
        Effect.gen(function*() {
          const changed = Buffer.from(reply)
          for (const { at, to } of changes) changed[at % changed.length] = to
          const { exit } = yield* shake(proxy, changed, { sizes })
          if (Exit.isSuccess(exit)) return
          assert.include(["ProxyRefused", "ProxyAuthentication", "ProxyProtocol"], reasonOf(exit)._tag)
        }),
      { arbitrary: { runs: 100 } }
    )
  }

  it.live("asks for exactly what it should", () =>
    Effect.gen(function*() {
      const ok = replies["without credentials"][1]
      const cases: ReadonlyArray<readonly [ProxyInput, string, Buffer, string]> = [
        [plain, "db.test:5432", ok, "050100 05010003 07 64622e74657374 1538"],
        [plain, "bücher.test:80", ok, "050100 05010003 12 786e2d2d62636865722d6b76612e74657374 0050"],
        [plain, "127.0.0.1:80", ok, "050100 05010001 7f000001 0050"],
        [plain, "[2001:db8::1]:443", ok, "050100 05010004 20010db8000000000000000000000001 01bb"],
        [plain, "[::ffff:1.2.3.4]:443", ok, "050100 05010004 00000000000000000000ffff01020304 01bb"],
        [
          withCredentials,
          "127.0.0.1:80",
          replies["with credentials"][1],
          "05020002 0102d18e06733363726574 05010001 7f000001 0050"
        ],
        [socks4, "db.test:5432", replies["of SOCKS4"][1], "0401 1538 00000001 6d6500 64622e7465737400"],
        ["socks4://proxy.test", "127.0.0.1:80", replies["of SOCKS4"][1], "0401 0050 7f000001 00"]
      ]
      for (const [proxy, target, reply, expected] of cases) {
        const { exit, sent } = yield* shake(proxy, reply, { target })
        assert.isTrue(Exit.isSuccess(exit), target)
        assert.strictEqual(sent.toString("hex"), expected.replaceAll(" ", ""), target)
      }
    }))

  it.live("says what a refusal means, and at once", () =>
    Effect.gen(function*() {
      const cases: ReadonlyArray<readonly [ProxyInput, string, number, string]> = [
        [plain, "0500 0501", 1, "general SOCKS server failure"],
        [plain, "0500 0502", 2, "connection not allowed by ruleset"],
        [plain, "0500 0503", 3, "Network unreachable"],
        [plain, "0500 0504", 4, "Host unreachable"],
        [plain, "0500 0505", 5, "Connection refused"],
        [plain, "0500 0506", 6, "TTL expired"],
        [plain, "0500 0507", 7, "Command not supported"],
        [plain, "0500 0508", 8, "Address type not supported"],
        [plain, "0500 05f0", 240, "unassigned reply code"],
        [withCredentials, "0502 0100 0505", 5, "Connection refused"],
        [socks4, "005b", 91, "request rejected or failed"],
        [socks4, "005c", 92, "request rejected because SOCKS server cannot connect to identd on the client"],
        [socks4, "005d", 93, "request rejected because the client program and identd report different user-ids"],
        [socks4, "0000", 0, "unassigned reply code"]
      ]
      for (const [proxy, reply, code, meaning] of cases) {
        const { exit } = yield* shake(proxy, bytes(reply), { keepOpen: true })
        assert.strictEqual(reasonOf(exit).message, `the proxy refused: ${meaning} (${code})`)
      }
    }))

  it.live("tells a refusal of credentials from a refusal of the target", () =>
    Effect.gen(function*() {
      const cases: ReadonlyArray<readonly [ProxyInput, string, string]> = [
        [plain, "05ff", "it wants credentials and there are none"],
        [plain, "0502", "it wants credentials and there are none"],
        [withCredentials, "05ff", "it accepts neither a username and password nor their absence"],
        [withCredentials, "0502 0101", "it does not accept the username and password"]
      ]
      for (const [proxy, reply, detail] of cases) {
        const { exit } = yield* shake(proxy, bytes(reply), { keepOpen: true })
        assert.strictEqual(reasonOf(exit).message, `the proxy did not authenticate us: ${detail}`)
      }
    }))

  it.live("knows what is no answer of a SOCKS proxy by its first bytes", () =>
    Effect.gen(function*() {
      const cases: ReadonlyArray<readonly [ProxyInput, Buffer, string]> = [
        [plain, Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n"), "0x48 begins no answer of a SOCKS5 proxy"],
        [socks4, Buffer.from("SSH-2.0-OpenSSH_9.2\r\n"), "0x53 begins no answer of a SOCKS4 proxy"],
        [plain, bytes("0501"), "it chose authentication method 0x01, which was not offered"],
        [withCredentials, bytes("0502 05"), "0x05 begins no answer to a username and password (RFC 1929)"],
        [plain, bytes("0500 04"), "0x04 begins no answer of a SOCKS5 proxy"],
        [plain, bytes("0500 05000002"), "0x02 is no type of address"]
      ]
      for (const [proxy, reply, detail] of cases) {
        for (const sizes of [[1], [1000]]) {
          const { exit } = yield* shake(proxy, reply, { sizes, keepOpen: true })
          assert.strictEqual(reasonOf(exit).message, `the proxy's answer makes no sense: ${detail}`)
        }
      }
    }))

  it.live("keeps the password out of everything that a failure holds", () =>
    Effect.gen(function*() {
      for (const reply of ["", "05ff", "0502 0101", "0502 0100 0505", "4854"]) {
        const { exit } = yield* shake(withCredentials, bytes(reply))
        const reason = reasonOf(exit)
        const shown = [
          String(exit),
          JSON.stringify(exit),
          reason.message,
          inspect(exit, { depth: 20, showHidden: true })
        ]
        assert.notInclude(shown.join("\n"), "s3cret")
      }
    }))

  it.live("leaves the time limit to the path", () =>
    Effect.gen(function*() {
      const duplex = new ScriptedDuplex()
      const shaking = yield* begin(plain, duplex)
      yield* Effect.sleep("20 millis")
      duplex.arrive(bytes("0500 05000001 00000000 0000"))
      assert.strictEqual(yield* Fiber.join(shaking), duplex)
    }))

  it.live("leaves no listener behind", () =>
    Effect.gen(function*() {
      for (const [proxy, reply] of Object.values(replies)) {
        const { duplex } = yield* shake(proxy, reply, { keepOpen: true })
        assert.deepStrictEqual(duplex.eventNames(), ["error"])
      }
      const duplex = new ScriptedDuplex()
      const shaking = yield* begin(plain, duplex)
      yield* turn
      yield* Fiber.interrupt(shaking)
      assert.deepStrictEqual(duplex.eventNames(), ["error"])
    }))
})

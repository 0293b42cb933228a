import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Http from "node:http"
import type { ProxyInput } from "../../../src/internal/proxy/settings.ts"
import { Sizes } from "../../support/fragments.ts"
import { begin, reasonOf, shake as shakeWith, type ShakeOptions } from "../../support/proxyHandshake.ts"
import { ScriptedDuplex, turn } from "../../support/scripted.ts"

const plain = "http://proxy.test"
const withCredentials: ProxyInput = {
  protocol: "http",
  host: "proxy.test",
  username: "ю",
  password: Redacted.make("s3:cret")
}

const shake = (reply: string | Uint8Array, { proxy = plain, ...options }: ShakeOptions & { proxy?: ProxyInput } = {}) =>
  shakeWith(proxy, reply, options)

const accepted = {
  "200": "HTTP/1.1 200 OK\r\n\r\n",
  "200 of HTTP/1.0": "HTTP/1.0 200 Connection established\r\nProxy-Agent: x\r\n\r\n",
  "200 without a reason": "HTTP/1.1 200\r\n\r\n",
  "204": "HTTP/1.1 204 No Content\r\n\r\n",
  "lines that end with LF alone": "HTTP/1.1 200 OK\nA: b\n\n",
  "lengths that mean nothing here": "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
  "interim answers": "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
}

/** What node:http makes of an answer to CONNECT: its status and what follows its head, or nothing. */
const nodeHttp = (reply: Uint8Array) =>
  Effect.callback<{ readonly status: number; readonly rest: string } | undefined>((resume) => {
    const duplex = new ScriptedDuplex()
    Http.request({ method: "CONNECT", path: "db.test:5432", createConnection: () => duplex })
      .on("connect", ({ statusCode = 0 }, _socket, head) => {
        let rest = String(head)
        for (let chunk: Buffer | null; (chunk = duplex.read()) !== null;) rest += String(chunk)
        resume(Effect.succeed({ status: statusCode, rest }))
      })
      .on("error", () => resume(Effect.undefined))
      .on("close", () => resume(Effect.undefined))
      .end()
    duplex.on("error", () => {}).arrive(reply)
    duplex.endInput()
  })

describe("HTTP CONNECT", () => {
  for (const [name, reply] of Object.entries(accepted)) {
    it.live.prop(
      `accepts ${name} in any pieces and leaves what follows`,
      { early: Schema.String, sizes: Sizes },
      ({ early, sizes }) =>
        Effect.gen(function*() {
          const { exit, rest } = yield* shake(reply, { early, sizes })
          assert.isTrue(Exit.isSuccess(exit))
          assert.strictEqual(rest, Buffer.from(early).toString())
        }),
      { arbitrary: { runs: 30 } }
    )

    it.live(`refuses each beginning of ${name}`, () =>
      Effect.gen(function*() {
        for (let size = 0; size < reply.length; size++) {
          const { exit } = yield* shake(reply.slice(0, size), { sizes: [1000] })
          assert.strictEqual(
            reasonOf(exit).message,
            "the proxy's answer makes no sense: the connection ended before the answer was complete"
          )
        }
      }))

    it.live(`makes each change of one byte of ${name} an answer or a typed error`, () =>
      Effect.gen(function*() {
        for (let at = 0; at < reply.length; at++) {
          for (const to of [0, 0x0a, 0x0d, 0x20, 0x31, 0x34, 0x3a, 0x7f, 0xff]) {
            const changed = Buffer.from(reply)
            changed[at] = to
            const { duplex, exit } = yield* shake(changed, { sizes: [1000] })
            if (Exit.isFailure(exit)) {
              assert.include(["ProxyRefused", "ProxyAuthentication", "ProxyProtocol"], reasonOf(exit)._tag)
            }
            assert.deepStrictEqual(duplex.eventNames(), ["error"], `${at}: ${to}`)
          }
        }
      }))

    it.live.prop(
      `says of ${name}, changed or not, what node:http says of what it understands`,
      {
        changes: Schema.Array(
          Schema.Struct({
            at: Schema.Natural,
            to: Schema.Literals(["0", "1", "2", "4", "5", "7", " ", ":", "x", "\r", "\n", "\t"])
          })
        )
      },
      ({ changes }) =>
        Effect.gen(function*() {
          const changed = Buffer.from(reply)
          for (const { at, to } of changes.slice(0, 2)) changed[at % changed.length] = to.charCodeAt(0)
          // node takes versions that are not those of CONNECT over a connection of its own
          if (/HTTP\/[^1]/.test(String(changed))) return
          const oracle = yield* nodeHttp(Buffer.concat([changed, Buffer.from("early")]))
          // it has no say where it understands nothing, and takes an interim answer for the last one
          if (oracle === undefined || oracle.status < 200) return
          const { exit, rest } = yield* shake(changed, { sizes: [1000], early: "early" })
          if (oracle.status < 300) {
            assert.isTrue(Exit.isSuccess(exit), String(exit))
            assert.strictEqual(rest, oracle.rest)
          } else {
            const reason = reasonOf(exit)
            const status = reason._tag === "ProxyRefused"
              ? reason.code
              : reason._tag === "ProxyAuthentication"
              ? 407
              : 0
            assert.strictEqual(status, oracle.status)
          }
        }),
      { arbitrary: { runs: 100 } }
    )

    it.live.prop(
      `survives any change to ${name}`,
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
          const { exit } = yield* shake(changed, { sizes })
          if (Exit.isSuccess(exit)) return
          assert.include(["ProxyRefused", "ProxyAuthentication", "ProxyProtocol"], reasonOf(exit)._tag)
        }),
      { arbitrary: { runs: 100 } }
    )
  }

  it.live("asks for exactly what it should", () =>
    Effect.gen(function*() {
      const ask = Effect.fnUntraced(function*(proxy: ProxyInput, target: string) {
        const { exit, sent } = yield* shake(accepted["200"], { proxy, target })
        assert.isTrue(Exit.isSuccess(exit))
        return String(sent)
      })
      assert.strictEqual(
        yield* ask(plain, "db.test:5432"),
        "CONNECT db.test:5432 HTTP/1.1\r\nHost: db.test:5432\r\n\r\n"
      )
      assert.strictEqual(
        yield* ask(plain, "[2001:db8::1]:443"),
        "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n"
      )
      const basic = Buffer.from("ю:s3:cret", "utf8").toString("base64")
      assert.strictEqual(
        yield* ask(withCredentials, "db.test:5432"),
        `CONNECT db.test:5432 HTTP/1.1\r\nHost: db.test:5432\r\nProxy-Authorization: Basic ${basic}\r\n\r\n`
      )
      assert.include(yield* ask("http://only-user@proxy.test", "db.test:80"), btoa("only-user:"))
    }))

  it.live("says what a refusal means", () =>
    Effect.gen(function*() {
      const cases = {
        "HTTP/1.1 403 Forbidden by policy\r\nContent-Length: 4\r\n\r\nnope": "Forbidden by policy (403)",
        "HTTP/1.1 503\r\n\r\n": "Service Unavailable (503)",
        "HTTP/1.1 502 \r\n\r\n": "Bad Gateway (502)",
        "HTTP/1.1 599\r\n\r\n": "unknown status (599)",
        "HTTP/1.1 302 Found\r\nLocation: http://login.test/\r\n\r\n": "Found (302)",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n": "Switching Protocols (101)",
        "HTTP/1.1 500 a\u001b[31mb\r\n\r\n": "a?[31mb (500)"
      }
      for (const [reply, meaning] of Object.entries(cases)) {
        const { exit } = yield* shake(reply, { keepOpen: true })
        assert.strictEqual(reasonOf(exit).message, `the proxy refused: ${meaning}`)
      }
    }))

  it.live("tells a refusal of credentials from a refusal of the target", () =>
    Effect.gen(function*() {
      const reply = "HTTP/1.1 407 Proxy Authentication Required\r\n" +
        "Proxy-Authenticate: Digest realm=\"x\"\r\nproxy-authenticate:NTLM\r\n\r\n<html>"
      assert.strictEqual(
        reasonOf((yield* shake(reply)).exit).message,
        "the proxy did not authenticate us: it wants credentials and there are none (it offers Digest, NTLM)"
      )
      assert.strictEqual(
        reasonOf((yield* shake(reply, { proxy: withCredentials })).exit).message,
        "the proxy did not authenticate us: it does not accept the username and password (it offers Digest, NTLM)"
      )
      assert.strictEqual(
        reasonOf((yield* shake("HTTP/1.1 407 No\r\n\r\n")).exit).message,
        "the proxy did not authenticate us: it wants credentials and there are none"
      )
    }))

  it.live("knows what is no HTTP answer by its first bytes", () =>
    Effect.gen(function*() {
      const cases = {
        "SSH-2.0-OpenSSH_9.2": { byByte: "S", whole: "SSH-2.0-OpenSSH_9.2" },
        "\u0005\u00ff": { byByte: "?", whole: "???" },
        "HTTP/2 200": { byByte: "HTTP/2", whole: "HTTP/2 200" },
        "\r\nHTTP/1.1 200 OK": { byByte: "?", whole: "?" },
        "HTTP/1.1 OK\r\n": { byByte: "HTTP/1.1 OK", whole: "HTTP/1.1 OK" },
        "HTTP/1.1 20\n": { byByte: "HTTP/1.1 20", whole: "HTTP/1.1 20" }
      }
      for (const [reply, { byByte, whole }] of Object.entries(cases)) {
        for (const [sizes, shown] of [[[1], byByte], [[1000], whole]] as const) {
          const { exit } = yield* shake(reply, { sizes, keepOpen: true })
          assert.strictEqual(
            reasonOf(exit).message,
            `the proxy's answer makes no sense: "${shown}" begins no HTTP answer`
          )
        }
      }
    }))

  it.live("takes an answer of up to 64 KiB, interim answers included", () =>
    Effect.gen(function*() {
      const limit = 64 * 1024
      const tooLong = "the proxy's answer makes no sense: more than 65536 bytes"
      const frame = "HTTP/1.1 200 OK\r\nX: \r\n\r\n".length
      const fits = `HTTP/1.1 200 OK\r\nX: ${"a".repeat(limit - frame)}\r\n\r\n`
      for (const sizes of [[limit * 2], [1000]]) {
        const { exit, rest } = yield* shake(fits, { sizes, early: "early" })
        assert.isTrue(Exit.isSuccess(exit))
        assert.strictEqual(rest, "early")
        assert.strictEqual(reasonOf((yield* shake(fits.replace("X", "XX"), { sizes })).exit).message, tooLong)
        assert.strictEqual(
          reasonOf((yield* shake("HTTP/1.1 100 Continue\r\n\r\n".repeat(3000), { sizes, keepOpen: true })).exit)
            .message,
          tooLong
        )
      }
    }))

  it.live("leaves a megabyte that comes with the answer in place", () =>
    Effect.gen(function*() {
      const early = "x".repeat(1 << 20)
      const { exit, rest } = yield* shake(accepted["200"], { early, sizes: [1 << 21] })
      assert.isTrue(Exit.isSuccess(exit))
      assert.strictEqual(rest.length, early.length)
    }))

  it.live("leaves no listener behind", () =>
    Effect.gen(function*() {
      for (const reply of [accepted["200"], "HTTP/1.1 403 No\r\n\r\n"]) {
        const { duplex } = yield* shake(reply, { keepOpen: true })
        assert.deepStrictEqual(duplex.eventNames(), ["error"])
      }
      const duplex = new ScriptedDuplex()
      const shaking = yield* begin(plain, duplex)
      yield* turn
      yield* Fiber.interrupt(shaking)
      assert.deepStrictEqual(duplex.eventNames(), ["error"])
    }))
})

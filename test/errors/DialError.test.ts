import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as DialError from "../../src/errors/DialError.ts"

const reasons: ReadonlyArray<readonly [reason: DialError.DialErrorReason, message: string, isRetryable: boolean]> = [
  [new DialError.InvalidTarget({ input: "db", why: "no port" }), "\"db\" is not usable: no port", false],
  [new DialError.NameNotFound({ name: "db", code: "ENOTFOUND" }), "the name \"db\" has no address (ENOTFOUND)", false],
  [new DialError.NameNotFound({ name: "db", code: "EAI_AGAIN" }), "the name \"db\" has no address (EAI_AGAIN)", true],
  ...["Timeout", "Temporary", "ServerFailure"].map((code) =>
    [new DialError.NameNotFound({ name: "db", code }), `the name "db" has no address (${code})`, true] as const
  ),
  [
    new DialError.Refused({ address: "127.0.0.1:1" }),
    "connection to 127.0.0.1:1 refused; is something listening there?",
    true
  ],
  [
    new DialError.Unreachable({ address: "10.0.0.9:1", code: "EHOSTUNREACH" }),
    "10.0.0.9:1 cannot be reached (EHOSTUNREACH)",
    true
  ],
  [new DialError.Unreachable({ address: "/x", code: "EACCES" }), "/x cannot be reached (EACCES)", false],
  [new DialError.Unreachable({ address: "/x", code: "EPERM" }), "/x cannot be reached (EPERM)", false],
  [
    new DialError.ConnectTimeout({ after: Duration.seconds(3), phase: "the answer of tls" }),
    "timed out after 3s while waiting for the answer of tls",
    true
  ],
  [
    new DialError.TlsHandshake({ check: "name", code: "X", servername: "db", detail: "it is for web" }),
    "TLS handshake with \"db\" failed on the name check: it is for web (X)",
    false
  ],
  [
    new DialError.TlsHandshake({ check: "closed", code: "ECONNRESET", servername: "db", detail: "gone" }),
    "TLS handshake with \"db\" failed on the closed check: gone (ECONNRESET)",
    true
  ],
  [new DialError.ProxyRefused({ code: 403, meaning: "forbidden" }), "the proxy refused: forbidden (403)", false],
  ...[502, 503, 504].map((code) =>
    [new DialError.ProxyRefused({ code, meaning: "later" }), `the proxy refused: later (${code})`, true] as const
  ),
  [
    new DialError.ProxyAuthentication({ detail: "wrong password" }),
    "the proxy did not authenticate us: wrong password",
    false
  ],
  [new DialError.ProxyProtocol({ detail: "an \"H\"" }), "the proxy's answer makes no sense: an \"H\"", false],
  [new DialError.TunnelRefused({ detail: "no" }), "the SSH server did not open the tunnel: no", false],
  [
    new DialError.CircuitOpen({ retryAfter: Duration.seconds(30) }),
    "not dialled: it failed too often and is left alone for 30s",
    true
  ],
  [
    new DialError.RateLimited({ retryAfter: Duration.millis(200) }),
    "not dialled: it was dialled too often; the next dial is allowed in 200ms",
    true
  ],
  [new DialError.Unknown({ detail: "what?" }), "what?", false]
]

describe("DialError", () => {
  for (const [reason, message, isRetryable] of reasons) {
    it(`says "${message}" and ${isRetryable ? "can" : "cannot"} be retried`, () => {
      const direct = new DialError.DialError({ target: "db:1", hop: "direct", reason })
      assert.strictEqual(direct.message, `db:1: ${message}`)
      assert.strictEqual(direct.isRetryable, isRetryable)
      assert.strictEqual(direct.cause, reason)
      const proxied = new DialError.DialError({ target: "db:1", hop: "socks5://proxy:1080", reason })
      assert.strictEqual(proxied.message, `db:1 via socks5://proxy:1080: ${message}`)
    })
  }
  it("has one line for every reason there is", () => {
    const all = DialError.DialErrorReason.members.map((member) => member.identifier.split("/").at(-1) ?? "")
    assert.deepStrictEqual(all.filter((name) => !reasons.some(([reason]) => reason._tag === name)), [])
  })
  it.effect("is caught by its reason", () =>
    Effect.gen(function*() {
      const reason = new DialError.Refused({ address: "127.0.0.1:1" })
      const failing = Effect.fail(new DialError.DialError({ target: "db:1", hop: "direct", reason }))
      const caught = yield* Effect.catchReason(
        failing,
        "DialError",
        "Refused",
        ({ address }) => Effect.succeed(address)
      )
      assert.strictEqual(caught, "127.0.0.1:1")
    }))
  it.effect("goes through a schema and back", () =>
    Effect.gen(function*() {
      const reason = new DialError.ConnectTimeout({ after: Duration.seconds(3), phase: "the connection" })
      const error = new DialError.DialError({ target: "db:1", hop: "direct", reason })
      const codec = Schema.toCodecJson(DialError.DialError)
      const sent = JSON.stringify(yield* Schema.encodeEffect(codec)(error))
      const back = yield* Schema.decodeEffect(codec)(JSON.parse(sent))
      assert.strictEqual(back.message, error.message)
      assert.strictEqual(back.isRetryable, true)
    }))
})

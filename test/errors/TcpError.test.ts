import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as TcpError from "../../src/errors/TcpError.ts"

const reasons: ReadonlyArray<readonly [reason: TcpError.TcpErrorReason, message: string, isRetryable: boolean]> = [
  [new TcpError.EndOfStream({ received: 0 }), "the peer has ended the stream", false],
  [
    new TcpError.EndOfStream({ received: 3 }),
    "the peer has ended the stream after 3 of the bytes that were expected",
    false
  ],
  [
    new TcpError.ReadTimeout({ after: Duration.seconds(2), received: 3 }),
    "nothing complete arrived within 2s; 3 bytes are buffered",
    true
  ],
  [
    new TcpError.WriteTimeout({ after: Duration.millis(1500) }),
    "the peer did not take the data within 1s 500ms",
    true
  ],
  [new TcpError.FrameTooLarge({ maxSize: 10 }), "a frame is longer than the limit of 10 bytes", false],
  [new TcpError.Reset({ code: "ECONNRESET" }), "the connection broke (ECONNRESET)", true],
  [new TcpError.Closed(), "the connection is closed on this side", false],
  [new TcpError.ConcurrentRead(), "another fiber is already reading from this connection", false],
  [
    new TcpError.PlaintextBuffered({ received: 3 }),
    "3 unread bytes arrived before the upgrade to TLS, which could be an injection",
    false
  ],
  [new TcpError.AddressInUse({ address: "127.0.0.1:80" }), "the address 127.0.0.1:80 is in use", true],
  [
    new TcpError.PermissionDenied({ address: "127.0.0.1:80" }),
    "the system does not permit listening on 127.0.0.1:80",
    false
  ],
  [new TcpError.UnknownConnection({ id: "tcp-7" }), "the server has no connection tcp-7", false],
  [new TcpError.Encoding({ encoding: "koi8-r", detail: "no \"→\"" }), "no \"→\" (encoding koi8-r)", false],
  [
    new TcpError.Malformed({ framing: "netstring", detail: "a length begins with a zero" }),
    "a length begins with a zero (framing netstring)",
    false
  ],
  [new TcpError.Unknown({ detail: "what?" }), "what?", false]
]

describe("TcpError", () => {
  for (const [reason, message, isRetryable] of reasons) {
    it(`says "${message}" and ${isRetryable ? "can" : "cannot"} be retried`, () => {
      const error = new TcpError.TcpError({ reason })
      assert.strictEqual(error.message, message)
      assert.strictEqual(error.isRetryable, isRetryable)
      assert.strictEqual(error.cause, reason)
    })
  }
  it("has one line for every reason there is", () => {
    const all = TcpError.TcpErrorReason.members.map((member) => member.identifier.split("/").at(-1) ?? "")
    assert.deepStrictEqual(all.filter((name) => !reasons.some(([reason]) => reason._tag === name)), [])
  })
  it.effect("is caught by its reason", () =>
    Effect.gen(function*() {
      const failing = Effect.fail(new TcpError.TcpError({ reason: new TcpError.FrameTooLarge({ maxSize: 7 }) }))
      const caught = yield* Effect.catchReason(failing, "TcpError", "FrameTooLarge", ({ maxSize }) =>
        Effect.succeed(maxSize))
      assert.strictEqual(caught, 7)
    }))
})

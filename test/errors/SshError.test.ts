import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import {
  AuthenticationFailed,
  ChannelRefused,
  CommandTimeout,
  ConnectionLost,
  HandshakeFailed,
  HandshakeTimeout,
  HostKeyRejected,
  OutputTooLarge,
  SshError,
  type SshErrorReason
} from "../../src/errors/SshError.ts"

const server = "ssh ops@bastion:22"
const error = (reason: SshErrorReason) => new SshError({ server, reason })

describe("SshError", () => {
  it("says in one line with whom and why", () => {
    const messages: ReadonlyArray<readonly [SshErrorReason, string]> = [
      [
        new HostKeyRejected({
          host: "bastion",
          fingerprint: "SHA256:abc",
          why: "changed",
          detail: "file:3 knows another"
        }),
        "the host key of bastion is changed: it showed SHA256:abc; file:3 knows another"
      ],
      [
        new HostKeyRejected({
          host: "[bastion]:2222",
          keyType: "ssh-ed25519",
          fingerprint: "SHA256:abc",
          why: "revoked",
          detail: "file:3 revokes it",
          known: { file: "file", line: 3, keyType: "ssh-ed25519", fingerprint: "SHA256:abc" }
        }),
        "the host key of [bastion]:2222 is revoked: it showed ssh-ed25519 SHA256:abc; file:3 revokes it"
      ],
      [
        new AuthenticationFailed({ tried: ["password"], remaining: ["publickey", "password"] }),
        "authentication failed: tried password; the server accepts publickey, password"
      ],
      [
        new HandshakeTimeout({ after: Duration.seconds(20), phase: "the login" }),
        "timed out after 20s while waiting for the login"
      ],
      [new ChannelRefused({ code: 1, detail: "open failed" }), "the server refused: open failed (1)"],
      [new CommandTimeout({ after: Duration.millis(1500) }), "the command had not ended after 1s 500ms"],
      [new OutputTooLarge({ maxSize: 10 }), "the command wrote more than 10 bytes"]
    ]
    for (const [reason, message] of messages) assert.strictEqual(error(reason).message, `${server}: ${message}`)
  })

  it("is worth another try when the connection, the time or the server's resources ran out", () => {
    assert.isTrue(error(new ConnectionLost({ detail: "gone" })).isRetryable)
    assert.isTrue(error(new HandshakeTimeout({ after: Duration.seconds(1), phase: "the login" })).isRetryable)
    assert.isTrue(error(new HandshakeFailed({ detail: "the server closed it", closed: true })).isRetryable)
    assert.isFalse(error(new HandshakeFailed({ detail: "no cipher in common" })).isRetryable)
    assert.isTrue(error(new ChannelRefused({ code: 4, detail: "too many" })).isRetryable)
    assert.isFalse(error(new ChannelRefused({ code: 1, detail: "prohibited" })).isRetryable)
    assert.isFalse(error(new AuthenticationFailed({ tried: [], remaining: [] })).isRetryable)
    // nobody knows what the command had done
    assert.isFalse(error(new CommandTimeout({ after: Duration.seconds(1) })).isRetryable)
  })

  it.effect("is caught by its reason", () =>
    Effect.gen(function*() {
      const failing = Effect.fail(error(new ConnectionLost({ detail: "gone" })))
      const detail = yield* Effect.catchReason(failing, "SshError", "ConnectionLost", ({ detail }) =>
        Effect.succeed(detail))
      assert.strictEqual(detail, "gone")
      assert.strictEqual((yield* Effect.flip(failing)).cause._tag, "ConnectionLost")
    }))
})

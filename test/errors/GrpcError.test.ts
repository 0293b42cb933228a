import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { GrpcError, NotFound, reasonFromCode } from "../../src/errors/GrpcError.ts"

describe("GrpcError", () => {
  it("names the method, the status and what the server said", () => {
    const error = new GrpcError({ method: "acme.Users/Get", reason: reasonFromCode(5, "no user 7") })
    assert.strictEqual(error.message, "acme.Users/Get: NotFound: no user 7")
    assert.strictEqual(error.cause, error.reason)
    assert.instanceOf(error.reason, NotFound)
    const silent = new GrpcError({ method: "acme.Users/Get", reason: reasonFromCode(5, "") })
    assert.strictEqual(silent.message, "acme.Users/Get: NotFound")
  })

  it("takes codes that do not exist as Unknown", () => {
    for (const code of [0, 17, -1, 99]) {
      const reason = reasonFromCode(code, "odd")
      assert.strictEqual(reason._tag, "Unknown")
      assert.strictEqual(reason.message, `status ${code}: odd`)
    }
  })

  it("is retryable when the server is unavailable and not otherwise", () => {
    const retryable = Array.from({ length: 16 }, (_, i) => i + 1).filter((code) =>
      new GrpcError({ method: "a.B/C", reason: reasonFromCode(code, "") }).isRetryable
    )
    assert.deepStrictEqual(retryable, [14])
  })

  it("can be sent elsewhere and read back, binary trailers too", () => {
    const trailers = { text: { a: ["1", "2"] }, binary: { "b-bin": [new Uint8Array([0, 255])] } }
    const error = new GrpcError({ method: "a.B/C", reason: reasonFromCode(3, "bad", trailers) })
    const json = Schema.toCodecJson(GrpcError)
    const text = JSON.stringify(Schema.encodeSync(json)(error))
    const back = Schema.decodeUnknownSync(json)(JSON.parse(text))
    assert.strictEqual(back.message, error.message)
    assert.deepStrictEqual(back.reason.trailers, trailers)
  })
})

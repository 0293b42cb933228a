import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Http2 from "node:http2"
import * as Details from "../../../../src/internal/grpc/wire/details.ts"
import {
  Code,
  codeName,
  decodeMessage,
  encodeMessage,
  ownStatus,
  reasonOf,
  resetName,
  statusOf,
  statusOfHttp,
  statusOfReset
} from "../../../../src/internal/grpc/wire/status.ts"

/** What a header value is allowed to be: HTTP/2 drops one with blanks around it. */
const header = /^(?:[!-~](?:[ -~]*[!-~])?)?$/

describe("grpc-message", () => {
  it.effect.prop(
    "carries any text",
    { text: Schema.String },
    ({ text }) =>
      Effect.sync(() => {
        const encoded = encodeMessage(text)
        assert.match(encoded, header)
        // halves of surrogate pairs are no text
        assert.strictEqual(decodeMessage(encoded), Buffer.from(text).toString())
      }),
    { arbitrary: { runs: 500 } }
  )

  it.effect.prop(
    "is the text itself where that is possible",
    { text: Schema.String.check(Schema.isPattern(/^(?:[!-$&-~](?:[ -$&-~]*[!-$&-~])?)?$/)) },
    ({ text }) => Effect.sync(() => assert.strictEqual(encodeMessage(text), text))
  )

  it("escapes as the definition of gRPC has it", () => {
    assert.strictEqual(encodeMessage("100 % ré\nsolu"), "100 %25 r%C3%A9%0Asolu")
    assert.strictEqual(
      encodeMessage("\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"),
      [
        "%09%0Atest with whitespace%0D%0Aand Unicode BMP %E2%98%BA and non-BMP %F0%9F%98%88%09%0A"
      ].join("")
    )
    assert.strictEqual(encodeMessage("  two at each end  "), "%20 two at each end %20")
  })

  it("is read as far as it makes sense", () => {
    assert.strictEqual(decodeMessage("100 %, %zz, %4, %%41, %e2%98%ba"), "100 %, %zz, %4, %A, ☺")
    assert.strictEqual(decodeMessage("%"), "%")
    assert.strictEqual(decodeMessage("%ff"), "\uFFFD")
  })

  it.effect.prop(
    "is never an error, whatever comes",
    { text: Schema.String },
    ({ text }) => Effect.sync(() => assert.isString(decodeMessage(text)))
  )

  it.live("arrives over HTTP/2 with blanks at its ends", () =>
    Effect.gen(function*() {
      const message = " indented, and a line more \n"
      const server = Http2.createServer()
      server.on("stream", (stream) =>
        stream.respond({ ":status": 200, "grpc-message": encodeMessage(message) }, { endStream: true }))
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) =>
          void server.listen(0, "127.0.0.1", () => resume(Effect.void))
        ),
        () => Effect.sync(() => server.close())
      )
      const address = server.address()
      assert(typeof address === "object" && address !== null)
      const session = yield* Effect.acquireRelease(
        Effect.sync(() => Http2.connect(`http://127.0.0.1:${address.port}`)),
        (session) => Effect.sync(() => session.destroy())
      )
      const headers = yield* Effect.callback<Http2.IncomingHttpHeaders>((resume) => {
        session.request({ ":path": "/" }).once("response", (headers) => resume(Effect.succeed(headers)))
      })
      assert.strictEqual(decodeMessage(String(headers["grpc-message"])), message)
    }))
})

describe("the status in trailers", () => {
  it("is that of grpc-status", () => {
    for (let code = 0; code <= 16; code++) {
      const trailers = ["grpc-status", String(code), "grpc-message", "a%20b"]
      assert.deepStrictEqual(statusOf(trailers), { code, message: "a b", trailers })
    }
    assert.deepStrictEqual(statusOf(["x", "1", "grpc-status", "5"])?.message, "")
  })

  it("is missing where grpc-status is", () => {
    assert.isUndefined(statusOf([]))
    assert.isUndefined(statusOf(["grpc-message", "x", "x-grpc-status", "1"]))
  })

  it("is unknown where grpc-status is no number", () => {
    for (const code of ["", "-1", "OK", "1.5", "0x1", " 1", "99999999999999999999"]) {
      assert.strictEqual(statusOf(["grpc-status", code])?.code, Code.unknown, code)
    }
  })

  it("becomes a reason with metadata and details", () => {
    const detail = { _tag: "LocalizedMessage", locale: "de", message: "nein" } as const
    const bytes = Buffer.from(Details.encode(9, "no", [detail]))
    for (const encoded of [bytes.toString("base64"), bytes.toString("base64").replace(/=+$/, "")]) {
      const trailers = ["grpc-status", "9", "grpc-message", "no", "x-a", "1", Details.detailsTrailer, encoded]
      const reason = reasonOf(statusOf(trailers)!)
      assert.strictEqual(reason._tag, "FailedPrecondition")
      assert.strictEqual(reason.message, "no")
      assert.deepStrictEqual(reason.trailers.text, { "x-a": ["1"] })
      assert.deepStrictEqual(reason.details, [detail])
    }
    const broken = reasonOf(statusOf(["grpc-status", "9", Details.detailsTrailer, "!!"])!)
    assert.deepStrictEqual(broken.details, [])
  })

  it("is unknown for a code that does not exist", () => {
    const reason = reasonOf(statusOf(["grpc-status", "17", "grpc-message", "new"])!)
    assert.strictEqual(reason._tag, "Unknown")
    assert.include(reason.message, "17")
    assert.include(reason.message, "new")
  })

  it("has no metadata when this side made it", () => {
    const reason = reasonOf(ownStatus(Code.deadlineExceeded, "late"))
    assert.strictEqual(reason._tag, "DeadlineExceeded")
    assert.deepStrictEqual(reason.trailers, { text: {}, binary: {} })
  })
})

describe("a status by its code", () => {
  it("has the name of its reason", () => {
    assert.strictEqual(codeName(0), "OK")
    for (let code = 1; code <= 16; code++) assert.strictEqual(codeName(code), reasonOf(ownStatus(code, ""))._tag)
    assert.strictEqual(codeName(17), "Unknown")
  })
})

describe("the status of what is not gRPC", () => {
  // grpc/doc/http-grpc-status-mapping.md
  const table: Record<number, number> = {
    400: Code.internal,
    401: Code.unauthenticated,
    403: Code.permissionDenied,
    404: Code.unimplemented,
    429: Code.unavailable,
    502: Code.unavailable,
    503: Code.unavailable,
    504: Code.unavailable
  }

  it("is that of the table for every HTTP status", () => {
    for (let status = 100; status < 600; status++) {
      assert.strictEqual(statusOfHttp(status, "").code, table[status] ?? Code.unknown, String(status))
    }
    assert.strictEqual(statusOfHttp(Number.NaN, "").code, Code.unknown)
  })
})

describe("the status of a stream that was reset", () => {
  // grpc/doc/PROTOCOL-HTTP2.md, HTTP2 Transport Mapping, Errors
  const table = [
    ["NO_ERROR", Code.internal],
    ["PROTOCOL_ERROR", Code.internal],
    ["INTERNAL_ERROR", Code.internal],
    ["FLOW_CONTROL_ERROR", Code.internal],
    ["SETTINGS_TIMEOUT", Code.internal],
    ["STREAM_CLOSED", undefined],
    ["FRAME_SIZE_ERROR", Code.internal],
    ["REFUSED_STREAM", Code.unavailable],
    ["CANCEL", Code.cancelled],
    ["COMPRESSION_ERROR", Code.internal],
    ["CONNECT_ERROR", Code.internal],
    ["ENHANCE_YOUR_CALM", Code.resourceExhausted],
    ["INADEQUATE_SECURITY", Code.permissionDenied],
    ["HTTP_1_1_REQUIRED", undefined]
  ] as const

  it("is that of the table, and names the error", () => {
    table.forEach(([name, code], error) => {
      assert.strictEqual(resetName(error), name)
      // the two that have no mapping are failures of the other side like most
      assert.strictEqual(statusOfReset(error).code, code ?? Code.internal, name)
      assert.include(statusOfReset(error).message, name)
    })
    assert.strictEqual(statusOfReset(99).code, Code.internal)
    assert.strictEqual(resetName(99), "error 99")
  })
})

import { fromBinary, toBinary, toJson } from "@bufbuild/protobuf"
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Schema from "effect/Schema"
import { GrpcDetail } from "../../../../src/errors/GrpcDetail.ts"
import { decode, encode } from "../../../../src/internal/grpc/wire/details.ts"
import { googleRpc, rpcMessage } from "../../../support/googleRpc.ts"

const everyDetail: ReadonlyArray<GrpcDetail> = [
  {
    _tag: "BadRequest",
    fieldViolations: [
      { field: "items[0].colour", description: "no such colour" },
      { field: "id", description: "", reason: "TAKEN", localizedMessage: { locale: "fr-CH", message: "déjà pris" } }
    ]
  },
  { _tag: "RetryInfo", retryDelay: Duration.millis(1500) },
  { _tag: "ErrorInfo", reason: "API_DISABLED", domain: "example.com", metadata: { service: "orders", __proto: "x" } },
  { _tag: "DebugInfo", stackEntries: ["a", "b"], detail: "here" },
  {
    _tag: "QuotaFailure",
    violations: [{
      subject: "project:x",
      description: "too much",
      apiService: "compute.example.com",
      quotaMetric: "cpus",
      quotaId: "CPUS-PER-REGION",
      quotaDimensions: { region: "us-central1" },
      quotaValue: 2n ** 63n - 1n,
      futureQuotaValue: 0n
    }]
  },
  { _tag: "PreconditionFailure", violations: [{ type: "TOS", subject: "example.com", description: "not accepted" }] },
  { _tag: "RequestInfo", requestId: "r-1", servingData: "abc" },
  { _tag: "ResourceInfo", resourceType: "file", resourceName: "a.txt", owner: "user:me", description: "gone" },
  { _tag: "Help", links: [{ description: "more", url: "https://example.com/help" }] },
  { _tag: "LocalizedMessage", locale: "de", message: "Das geht nicht: ß" },
  { _tag: "Other", typeUrl: "type.googleapis.com/acme.Reason", value: Uint8Array.of(8, 1) }
]

const typeUrl = (name: string) => `type.googleapis.com/google.rpc.${name}`

/** What can come back: text that UTF-8 holds, times in the range of the definition. */
const canonical = (value: unknown): unknown => {
  if (typeof value === "string") return Buffer.from(value).toString()
  if (value === undefined || value instanceof Uint8Array) return value
  if (Duration.isDuration(value)) {
    const maximum = Duration.seconds(315_576_000_000)
    return Duration.toNanosUnsafe(Duration.clamp(value, { minimum: Duration.negate(maximum), maximum }))
  }
  if (Array.isArray(value)) return value.map(canonical)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, inner]) => {
      // a map without entries is not there
      const empty = name === "quotaDimensions" && Object.keys(inner ?? {}).length === 0
      return inner === undefined || empty ? [] : [[Buffer.from(name).toString(), canonical(inner)]]
    })
  )
}

describe("details of an error", () => {
  it("come back as they were sent", () => {
    assert.deepStrictEqual(decode(encode(9, "no", everyDetail)), everyDetail)
  })

  it("are what other programs read", () => {
    const json = toJson(
      rpcMessage("Status"),
      fromBinary(rpcMessage("Status"), encode(9, "no", everyDetail.slice(0, -1))),
      {
        registry: googleRpc
      }
    )
    assert.deepStrictEqual(json, {
      code: 9,
      message: "no",
      details: [
        {
          "@type": typeUrl("BadRequest"),
          fieldViolations: [
            { field: "items[0].colour", description: "no such colour" },
            { field: "id", reason: "TAKEN", localizedMessage: { locale: "fr-CH", message: "déjà pris" } }
          ]
        },
        { "@type": typeUrl("RetryInfo"), retryDelay: "1.500s" },
        {
          "@type": typeUrl("ErrorInfo"),
          reason: "API_DISABLED",
          domain: "example.com",
          metadata: { service: "orders", __proto: "x" }
        },
        { "@type": typeUrl("DebugInfo"), stackEntries: ["a", "b"], detail: "here" },
        {
          "@type": typeUrl("QuotaFailure"),
          violations: [{
            subject: "project:x",
            description: "too much",
            apiService: "compute.example.com",
            quotaMetric: "cpus",
            quotaId: "CPUS-PER-REGION",
            quotaDimensions: { region: "us-central1" },
            quotaValue: "9223372036854775807",
            futureQuotaValue: "0"
          }]
        },
        {
          "@type": typeUrl("PreconditionFailure"),
          violations: [{ type: "TOS", subject: "example.com", description: "not accepted" }]
        },
        { "@type": typeUrl("RequestInfo"), requestId: "r-1", servingData: "abc" },
        {
          "@type": typeUrl("ResourceInfo"),
          resourceType: "file",
          resourceName: "a.txt",
          owner: "user:me",
          description: "gone"
        },
        { "@type": typeUrl("Help"), links: [{ description: "more", url: "https://example.com/help" }] },
        { "@type": typeUrl("LocalizedMessage"), locale: "de", message: "Das geht nicht: ß" }
      ]
    })
  })

  it.effect.prop(
    "of any contents come back, also through another program",
    {
      code: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 16 })),
      message: Schema.String,
      details: Schema.Array(GrpcDetail)
    },
    ({ code, details, message }) =>
      Effect.sync(() => {
        const bytes = encode(code, message, details)
        assert.deepStrictEqual(canonical(decode(bytes)), canonical(details))
        const status = fromBinary(rpcMessage("Status"), bytes)
        assert.strictEqual(Reflect.get(status, "code"), code)
        assert.strictEqual(Reflect.get(status, "message"), Buffer.from(message).toString())
        assert.deepStrictEqual(canonical(decode(toBinary(rpcMessage("Status"), status))), canonical(details))
      }),
    { arbitrary: { runs: 200 } }
  )

  it.effect.prop(
    "keep a time to the nanosecond",
    { nanos: Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: -(2n ** 80n), maximum: 2n ** 80n })) },
    ({ nanos }) =>
      Effect.sync(() => {
        const limit = 315_576_000_000_000_000_000n
        const expected = nanos > limit ? limit : nanos < -limit ? -limit : nanos
        const [detail] = decode(encode(14, "", [{ _tag: "RetryInfo", retryDelay: Duration.nanos(nanos) }]))
        assert(detail?._tag === "RetryInfo")
        assert.strictEqual(Duration.toNanosUnsafe(detail.retryDelay), expected)
      })
  )

  it("say the longest time there is for one without end", () => {
    const delays = [Duration.infinity, Duration.negativeInfinity]
    const decoded = decode(encode(14, "", delays.map((retryDelay) => ({ _tag: "RetryInfo", retryDelay }))))
    const seconds = decoded.map((detail) => detail._tag === "RetryInfo" && Duration.toSeconds(detail.retryDelay))
    assert.deepStrictEqual(seconds, [315_576_000_000, -315_576_000_000])
  })

  it("are no wait when a server gives none", () => {
    const details = decode(encode(14, "", [{ _tag: "Other", typeUrl: typeUrl("RetryInfo"), value: new Uint8Array() }]))
    assert.isTrue(Equal.equals(details, [{ _tag: "RetryInfo", retryDelay: Duration.zero }]))
  })

  it.effect.prop(
    "are none or some, never a failure, whatever bytes come",
    { bytes: Schema.Uint8Array },
    ({ bytes }) => Effect.sync(() => assert.isTrue(Schema.is(Schema.Array(GrpcDetail))(decode(bytes)))),
    { arbitrary: { runs: 500 } }
  )

  it("stop nowhere, however they are cut", () => {
    const bytes = encode(9, "no", everyDetail)
    for (let end = 0; end < bytes.length; end++) assert.isArray(decode(bytes.subarray(0, end)))
    assert.deepStrictEqual(decode(new Uint8Array()), [])
    assert.deepStrictEqual(decode(Uint8Array.of(0xff, 0xff, 0xff)), [])
  })

  it("of a known type that cannot be read come as they are", () => {
    const other = { _tag: "Other", typeUrl: typeUrl("BadRequest"), value: Uint8Array.of(10, 99) } as const
    assert.deepStrictEqual(decode(encode(3, "", [other])), [other])
  })

  it("are known by the name of their type, whatever stands before it", () => {
    const value = Uint8Array.of(10, 2, 100, 101)
    const named = (typeUrl: string) => decode(encode(3, "", [{ _tag: "Other", typeUrl, value }]))
    const expected: ReadonlyArray<GrpcDetail> = [{ _tag: "LocalizedMessage", locale: "de", message: "" }]
    assert.deepStrictEqual(named("example.com/types/google.rpc.LocalizedMessage"), expected)
    assert.deepStrictEqual(named("google.rpc.LocalizedMessage"), expected)
    assert.strictEqual(named("type.googleapis.com/google.rpc.Status")[0]?._tag, "Other")
    assert.strictEqual(named("type.googleapis.com/acme.LocalizedMessage")[0]?._tag, "Other")
  })
})

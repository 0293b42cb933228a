import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import protobuf from "protobufjs"
import * as GrpcSchema from "../../../../src/services/GrpcSchema.ts"
import { reasonOf } from "../../../support/reason.ts"

const definitions = `syntax = "proto3";
  package acme;
  ${
  ["any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers"]
    .map((name) => `import "google/protobuf/${name}.proto";`).join("\n")
}
  message M {
    google.protobuf.Timestamp time = 1;
    google.protobuf.Duration wait = 2;
    google.protobuf.Struct struct = 3;
    google.protobuf.Value value = 4;
    google.protobuf.ListValue list = 5;
    google.protobuf.FieldMask mask = 6;
    google.protobuf.Empty empty = 7;
    google.protobuf.Any any = 8;
    google.protobuf.BoolValue bool = 11;
    google.protobuf.BytesValue bytes = 12;
    google.protobuf.DoubleValue double = 13;
    google.protobuf.FloatValue float = 14;
    google.protobuf.Int32Value int32 = 15;
    google.protobuf.Int64Value int64 = 16;
    google.protobuf.StringValue string = 17;
    google.protobuf.UInt32Value uint32 = 18;
    google.protobuf.UInt64Value uint64 = 19;
    repeated google.protobuf.Value values = 21;
    map<string, google.protobuf.Value> value_by = 22;
    map<string, google.protobuf.Timestamp> time_by = 23;
    repeated google.protobuf.Int64Value longs = 24;
    oneof one { google.protobuf.Value this = 25; google.protobuf.StringValue that = 26; }
    M m = 27;
  }
  message Order { string id = 1; google.protobuf.Timestamp placed_at = 2; repeated int32 items = 3; }
  service S {
    rpc Times(google.protobuf.Timestamp) returns (google.protobuf.Duration);
    rpc Json(google.protobuf.Struct) returns (google.protobuf.Value);
    rpc Lists(google.protobuf.ListValue) returns (google.protobuf.FieldMask);
    rpc Values(google.protobuf.StringValue) returns (google.protobuf.Int64Value);
    rpc Rest(google.protobuf.Empty) returns (google.protobuf.Any);
  }`

const schema = GrpcSchema.fromSource(definitions)

const message = Effect.fnUntraced(function*(name: string) {
  const found = yield* Effect.fromResult((yield* schema).message(name))
  return {
    encode: found.encode,
    decode: found.decode,
    echo: (values: object) => Result.getOrThrow(Result.flatMap(found.encode(values), found.decode)),
    refused: (values: object) => reasonOf(Effect.fromResult(found.encode(values)))
  }
})

const blank = { values: [], valueBy: {}, timeBy: {}, longs: [] }

/** What comes back of one field. */
const echoed = (key: string, cases: ReadonlyArray<readonly [given: unknown, back: unknown]>) =>
  Effect.gen(function*() {
    const { echo } = yield* message("acme.M")
    for (const [given, back] of cases) {
      const shown = String(given)
      assert.deepStrictEqual(echo({ [key]: given }), back === undefined ? blank : { ...blank, [key]: back }, shown)
      // and what comes back can be sent again
      if (back !== undefined) assert.deepStrictEqual(echo({ [key]: back }), { ...blank, [key]: back }, shown)
    }
  })

const refusals = (cases: ReadonlyArray<readonly [values: object, path: string]>) =>
  Effect.gen(function*() {
    const { refused } = yield* message("acme.M")
    for (const [values, path] of cases) {
      const reason = yield* refused(values)
      assert.include(["WrongType", "UnknownField"], reason["_tag"])
      assert.strictEqual(reason["path"], path)
    }
  })

const midnight = 1_769_817_600n

describe("Timestamp", () => {
  it.effect("takes seconds, a Date, a DateTime and RFC 3339 text, and gives seconds", () =>
    echoed("time", [
      [{ seconds: 1, nanos: 2 }, { seconds: 1n, nanos: 2 }],
      [{ seconds: -1n, nanos: 999_999_999 }, { seconds: -1n, nanos: 999_999_999 }],
      [{ seconds: "5" }, { seconds: 5n, nanos: 0 }],
      [{}, { seconds: 0n, nanos: 0 }],
      [{ seconds: -62_135_596_800n }, { seconds: -62_135_596_800n, nanos: 0 }],
      [{ seconds: 253_402_300_799n, nanos: 999_999_999 }, { seconds: 253_402_300_799n, nanos: 999_999_999 }],
      [new Date("2026-01-31T00:00:00.25Z"), { seconds: midnight, nanos: 250_000_000 }],
      [new Date(-1), { seconds: -1n, nanos: 999_000_000 }],
      [DateTime.makeUnsafe("2026-01-31T00:00:01Z"), { seconds: midnight + 1n, nanos: 0 }],
      [
        DateTime.makeZonedUnsafe("2026-01-31T00:00:00Z", { timeZone: "Asia/Tokyo" }),
        { seconds: midnight, nanos: 0 }
      ],
      ["2026-01-31T00:00:00Z", { seconds: midnight, nanos: 0 }],
      ["2026-01-31t00:00:00.000000001z", { seconds: midnight, nanos: 1 }],
      ["2026-01-31T01:30:00.5+01:30", { seconds: midnight, nanos: 500_000_000 }],
      ["2026-01-30T16:00:00-08:00", { seconds: midnight, nanos: 0 }],
      ["1969-12-31T23:59:59.75Z", { seconds: -1n, nanos: 750_000_000 }],
      ["0001-01-01T00:00:00Z", { seconds: -62_135_596_800n, nanos: 0 }],
      ["9999-12-31T23:59:59.999999999Z", { seconds: 253_402_300_799n, nanos: 999_999_999 }],
      ["2024-02-29T00:00:00Z", { seconds: 1_709_164_800n, nanos: 0 }],
      [null, undefined]
    ]))

  it.effect("refuses what is no time, or out of range", () =>
    refusals([
      [{ time: { seconds: 253_402_300_800n } }, "time"],
      [{ time: { seconds: -62_135_596_801n } }, "time"],
      [{ time: { seconds: 0, nanos: -1 } }, "time.nanos"],
      [{ time: { seconds: 0, nanos: 1_000_000_000 } }, "time.nanos"],
      [{ time: { seconds: 1.5 } }, "time.seconds"],
      [{ time: { seconds: 0, millis: 1 } }, "time.millis"],
      [{ time: new Date(NaN) }, "time"],
      [{ time: new Date(8.64e15) }, "time"],
      [{ time: 1_700_000_000 }, "time"],
      [{ time: ["2026-01-31T00:00:00Z"] }, "time"],
      [{ timeBy: { a: "yesterday" } }, "timeBy.a"],
      ...[
        "2026-01-31",
        "2026-01-31T00:00:00",
        "2026-01-31 00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T00:60:00Z",
        "2026-01-31T00:00:00.1234567890Z",
        "2026-01-31T00:00:00+24:00",
        "0000-12-31T23:59:59Z",
        "0001-01-01T00:00:00+00:01",
        " 2026-01-31T00:00:00Z"
      ].map((time) => [{ time }, "time"] as const)
    ]))
})

describe("Duration", () => {
  it.effect("takes seconds, a Duration and text, and gives seconds", () =>
    echoed("wait", [
      [{ seconds: 1, nanos: 2 }, { seconds: 1n, nanos: 2 }],
      [{ seconds: -1, nanos: -2 }, { seconds: -1n, nanos: -2 }],
      [{ nanos: -5 }, { seconds: 0n, nanos: -5 }],
      [{ seconds: 315_576_000_000n, nanos: 999_999_999 }, { seconds: 315_576_000_000n, nanos: 999_999_999 }],
      [Duration.millis(1500), { seconds: 1n, nanos: 500_000_000 }],
      [Duration.nanos(1n), { seconds: 0n, nanos: 1 }],
      [Duration.days(1), { seconds: 86_400n, nanos: 0 }],
      ["1.5s", { seconds: 1n, nanos: 500_000_000 }],
      ["-0.000000001s", { seconds: 0n, nanos: -1 }],
      ["-3s", { seconds: -3n, nanos: 0 }],
      ["0s", { seconds: 0n, nanos: 0 }]
    ]))

  it.effect("refuses what is no duration, or out of range, or of two signs", () =>
    refusals([
      [{ wait: { seconds: 315_576_000_001n } }, "wait"],
      [{ wait: { seconds: -315_576_000_001n } }, "wait"],
      [{ wait: { nanos: 1_000_000_000 } }, "wait.nanos"],
      [{ wait: { seconds: 1, nanos: -1 } }, "wait.nanos"],
      [{ wait: { seconds: -1, nanos: 1 } }, "wait.nanos"],
      [{ wait: { seconds: "x" } }, "wait.seconds"],
      [{ wait: Duration.infinity }, "wait"],
      [{ wait: 5 }, "wait"],
      ...["5", "s", "1.s", "1.5", "1.0000000000s", "1 s", "1ms", "9999999999999s"].map((wait) =>
        [{ wait }, "wait"] as const
      )
    ]))
})

describe("Struct, Value and ListValue", () => {
  const json = {
    text: "x",
    number: -1.5,
    yes: true,
    none: null,
    list: [1, "two", null, [], {}],
    deep: { a: { b: [] } }
  }

  it.effect("are JSON", () =>
    Effect.gen(function*() {
      yield* echoed("struct", [[{}, {}], [json, json], [
        JSON.parse(`{ "__proto__": 1, "constructor": 2 }`),
        JSON.parse(`{ "__proto__": 1, "constructor": 2 }`)
      ]])
      yield* echoed("list", [[[], []], [[json, null, "x"], [json, null, "x"]]])
      yield* echoed("value", [["x", "x"], ["", ""], [0, 0], [false, false], [null, null], [json, json], [[json], [
        json
      ]]])
      yield* echoed("values", [[[null, 1, json], [null, 1, json]]])
      yield* echoed("valueBy", [[{ a: null, b: [null] }, { a: null, b: [null] }]])
      yield* echoed("this", [[null, null]])
    }))

  it.effect("leave out what is undefined, as JSON does", () =>
    Effect.gen(function*() {
      const { echo } = yield* message("acme.M")
      assert.deepStrictEqual(echo({ struct: { a: undefined, b: 1 }, value: undefined }), { ...blank, struct: { b: 1 } })
    }))

  it.effect("count null as a member of a oneof", () =>
    Effect.gen(function*() {
      const { echo } = yield* message("acme.M")
      assert.strictEqual((yield* (yield* message("acme.M")).refused({ this: null, that: "x" }))["path"], "one")
      assert.deepStrictEqual(echo({ this: null, that: null }), { ...blank, this: null })
    }))

  it.effect("refuse what is no JSON, with its place", () => {
    const loop: { self?: object } = {}
    loop.self = loop
    return refusals([
      [{ struct: [] }, "struct"],
      [{ struct: new Map() }, "struct"],
      [{ struct: { a: { b: [1, 2n] } } }, "struct.a.b[1]"],
      [{ struct: { a: NaN } }, "struct.a"],
      [{ struct: { a: new Date() } }, "struct.a"],
      [{ struct: { a: new Uint8Array() } }, "struct.a"],
      [{ struct: { a: () => 1 } }, "struct.a"],
      [{ struct: { a: "\ud800" } }, "struct.a"],
      [{ value: Infinity }, "value"],
      [{ value: [undefined] }, "value[0]"],
      [{ list: {} }, "list"],
      [{ struct: loop }, `struct${".self".repeat(50)}`]
    ])
  })

  it.effect("are merged when they come twice", () =>
    Effect.gen(function*() {
      const { decode, encode } = yield* message("acme.M")
      const merged = (one: object, other: object) =>
        Result.getOrThrow(
          decode(Buffer.concat([Result.getOrThrow(encode(one)), Result.getOrThrow(encode(other))]))
        )
      assert.deepStrictEqual(merged({ struct: { a: 1, b: 2 } }, { struct: { b: 3 } }), {
        ...blank,
        struct: { a: 1, b: 3 }
      })
      assert.deepStrictEqual(merged({ list: [1] }, { list: ["x"] }), { ...blank, list: [1, "x"] })
      assert.deepStrictEqual(merged({ value: { a: 1 } }, { value: { b: 2 } }), { ...blank, value: { a: 1, b: 2 } })
      assert.deepStrictEqual(merged({ value: { a: 1 } }, { value: null }), { ...blank, value: null })
      assert.deepStrictEqual(merged({ time: { seconds: 5 } }, { time: { nanos: 6 } }), {
        ...blank,
        time: { seconds: 5n, nanos: 6 }
      })
      assert.deepStrictEqual(merged({ int64: 5 }, { int64: 6 }), { ...blank, int64: 6n })
      assert.deepStrictEqual(merged({ int64: 5 }, { int64: 0 }), { ...blank, int64: 5n })
      assert.deepStrictEqual(merged({ mask: ["a"] }, { mask: ["b"] }), { ...blank, mask: ["a", "b"] })
      assert.deepStrictEqual(merged({ m: { value: { a: 1 } } }, { m: { value: { b: 2 } } }), {
        ...blank,
        m: { ...blank, value: { a: 1, b: 2 } }
      })
      const any = { typeUrl: "x/unknown", value: new Uint8Array([1]) }
      assert.deepStrictEqual(merged({ any: { "@type": "acme.Order", id: "x" } }, { any }), { ...blank, any })
    }))
})

describe("wrappers", () => {
  it.effect("are their value, also when it is the default", () =>
    Effect.gen(function*() {
      const cases: ReadonlyArray<readonly [key: string, ...values: ReadonlyArray<unknown>]> = [
        ["bool", true, false],
        ["bytes", new Uint8Array([1]), new Uint8Array()],
        ["double", 1.5, 0],
        ["float", 1.5, 0],
        ["int32", -1, 0],
        ["int64", -(2n ** 63n), 0n],
        ["string", "x", ""],
        ["uint32", 2 ** 32 - 1, 0],
        ["uint64", 2n ** 64n - 1n, 0n]
      ]
      for (const [key, ...values] of cases) {
        yield* echoed(key, [...values.flatMap((value) => [[value, value], [{ value }, value]] as const), [
          {},
          values[1]
        ], [null, undefined]])
      }
      yield* echoed("longs", [[[1, 2n, { value: "3" }], [1n, 2n, 3n]]])
    }))

  it.effect("refuse what their field would", () =>
    refusals([
      [{ int32: "x" }, "int32"],
      [{ int32: 2 ** 31 }, "int32"],
      [{ uint64: -1n }, "uint64"],
      [{ string: 1 }, "string"],
      [{ bytes: "x" }, "bytes"],
      [{ longs: [1, null] }, "longs[1]"],
      [{ longs: [1, { value: "x" }] }, "longs[1]"],
      [{ string: { text: "x" } }, "string.text"]
    ]))
})

describe("FieldMask and Empty", () => {
  it.effect("are an array of paths, and nothing", () =>
    Effect.gen(function*() {
      yield* echoed("mask", [
        [["a", "b.c_d"], ["a", "b.c_d"]],
        [{ paths: ["a"] }, ["a"]],
        ["a,b.c_d", ["a", "b.c_d"]],
        ["", []],
        [[], []]
      ])
      yield* echoed("empty", [[{}, {}]])
      yield* refusals([[{ mask: 1 }, "mask"], [{ mask: ["a", 1] }, "mask[1]"], [{ empty: { a: 1 } }, "empty.a"]])
    }))
})

describe("Any", () => {
  const type = (name: string) => `type.googleapis.com/${name}`

  it.effect("has the fields of a message that the definitions have, and the value of a well-known type", () =>
    echoed("any", [
      [{ "@type": type("acme.Order"), id: "x", items: [1, 2] }, {
        "@type": type("acme.Order"),
        id: "x",
        items: [1, 2]
      }],
      [{ "@type": "acme.Order", placed_at: "2026-01-31T00:00:00Z" }, {
        "@type": type("acme.Order"),
        id: "",
        placedAt: { seconds: midnight, nanos: 0 },
        items: []
      }],
      [{ "@type": "example.com/a/acme.Order" }, { "@type": "example.com/a/acme.Order", id: "", items: [] }],
      [{ "@type": type("google.protobuf.Duration"), value: "1.5s" }, {
        "@type": type("google.protobuf.Duration"),
        value: { seconds: 1n, nanos: 500_000_000 }
      }],
      [{ "@type": type("google.protobuf.Value"), value: null }, {
        "@type": type("google.protobuf.Value"),
        value: null
      }],
      [{ "@type": type("google.protobuf.Int64Value"), value: 5 }, {
        "@type": type("google.protobuf.Int64Value"),
        value: 5n
      }],
      [{ "@type": type("google.protobuf.Empty") }, { "@type": type("google.protobuf.Empty") }],
      [{ "@type": type("google.protobuf.Any"), value: { "@type": "acme.Order", id: "inner" } }, {
        "@type": type("google.protobuf.Any"),
        value: { "@type": type("acme.Order"), id: "inner", items: [] }
      }],
      [{ typeUrl: type("acme.Order"), value: new Uint8Array([10, 1, 120]) }, {
        "@type": type("acme.Order"),
        id: "x",
        items: []
      }]
    ]))

  it.effect("is bytes where the definitions do not have the type, or the bytes are something else", () =>
    echoed("any", [
      [{ typeUrl: type("other.Type"), value: new Uint8Array([1, 2]) }, {
        typeUrl: type("other.Type"),
        value: new Uint8Array([1, 2])
      }],
      [{ typeUrl: type("acme.Order"), value: new Uint8Array([10, 5]) }, {
        typeUrl: type("acme.Order"),
        value: new Uint8Array([10, 5])
      }],
      [{ typeUrl: type("acme"), value: new Uint8Array() }, { typeUrl: type("acme"), value: new Uint8Array() }],
      [{ typeUrl: type("__proto__.toString"), value: new Uint8Array() }, {
        typeUrl: type("__proto__.toString"),
        value: new Uint8Array()
      }],
      [{}, { typeUrl: "", value: new Uint8Array() }]
    ]))

  it.effect("refuses a type that the definitions do not have, and fields that the type does not", () =>
    refusals([
      [{ any: { "@type": "other.Type", a: 1 } }, "any.@type"],
      [{ any: { "@type": 5 } }, "any.@type"],
      [{ any: { "@type": "acme.Order", nope: 1 } }, "any.nope"],
      [{ any: { "@type": "acme.Order", items: [1, "x"] } }, "any.items[1]"],
      [{ any: { "@type": "google.protobuf.Duration", seconds: 1 } }, "any.seconds"],
      [{ any: { typeUrl: "x", data: 1 } }, "any.data"],
      [{ any: "text" }, "any"]
    ]))

  it.effect("is bounded in how deep it goes", () =>
    Effect.gen(function*() {
      const { decode, refused } = yield* message("acme.M")
      let any: object = { "@type": "acme.Order" }
      for (let depth = 0; depth < 150; depth++) any = { "@type": "google.protobuf.Any", value: any }
      assert.include(String((yield* refused({ any }))["expected"]), "100 levels")
      let bytes: Uint8Array = new Uint8Array()
      for (let depth = 0; depth < 150; depth++) {
        bytes = protobuf.Writer.create().uint32(10).string(type("google.protobuf.Any")).uint32(18).bytes(bytes).finish()
      }
      assert.isTrue(Result.isSuccess(decode(protobuf.Writer.create().uint32(66).bytes(bytes).finish())))
    }))
})

describe("a well-known type as a whole request or response", () => {
  it.effect("is always an object", () =>
    Effect.gen(function*() {
      const cases: ReadonlyArray<readonly [name: string, given: object, back: object]> = [
        ["Timestamp", new Date(1500), { seconds: 1n, nanos: 500_000_000 }],
        ["Duration", Duration.seconds(5), { seconds: 5n, nanos: 0 }],
        ["Struct", { a: [null] }, { a: [null] }],
        ["Value", { structValue: { a: 1 } }, { structValue: { a: 1 } }],
        ["ListValue", { values: [1, null] }, { values: [1, null] }],
        ["FieldMask", { paths: ["a"] }, { paths: ["a"] }],
        ["StringValue", { value: "x" }, { value: "x" }],
        ["Int64Value", {}, { value: 0n }],
        ["Empty", {}, {}],
        ["Any", { "@type": "acme.Order", id: "x" }, { "@type": "type.googleapis.com/acme.Order", id: "x", items: [] }]
      ]
      for (const [name, given, back] of cases) {
        const { echo } = yield* message(`google.protobuf.${name}`)
        assert.deepStrictEqual(echo(given), back, name)
      }
    }))

  it.effect("is a message like any other when somebody's own has the name", () =>
    Effect.gen(function*() {
      const own = yield* GrpcSchema.fromSource(
        `syntax = "proto3"; package google.protobuf; message Timestamp { string text = 1; } message M { Timestamp t = 1; }`
      )
      const { decode, encode } = yield* Effect.fromResult(own.message("google.protobuf.M"))
      const values = { t: { text: "x" } }
      assert.deepStrictEqual(Result.getOrThrow(Result.flatMap(encode(values), decode)), values)
    }))
})

describe("the schemas of Timestamp and Duration", () => {
  const Job = Schema.Struct({ at: GrpcSchema.Timestamp, every: GrpcSchema.Duration })

  it.effect("turn what messages have into DateTime and Duration, and back", () =>
    Effect.gen(function*() {
      const wire = { at: { seconds: -1n, nanos: 250_000_000 }, every: { seconds: 1n, nanos: 500_000_001 } }
      const job = yield* Schema.decodeEffect(Job)(wire)
      assert.strictEqual(DateTime.toEpochMillis(job.at), -750)
      assert.deepStrictEqual(job.every, Duration.nanos(1_500_000_001n))
      assert.deepStrictEqual(yield* Schema.encodeEffect(Job)(job), wire)
    }))

  it.effect("cut off what is below a millisecond", () =>
    Effect.gen(function*() {
      const time = yield* Schema.decodeEffect(GrpcSchema.Timestamp)({ seconds: 1n, nanos: 999_999_999 })
      assert.strictEqual(DateTime.toEpochMillis(time), 1999)
    }))

  it.effect("refuse what protobuf does not allow", () =>
    Effect.gen(function*() {
      const zero = { seconds: 0n, nanos: 0 }
      const wrong: ReadonlyArray<(typeof Job)["Encoded"]> = [
        { at: { seconds: 253_402_300_800n, nanos: 0 }, every: zero },
        { at: { seconds: 0n, nanos: -1 }, every: zero },
        { at: zero, every: { seconds: 315_576_000_001n, nanos: 0 } },
        { at: zero, every: { seconds: 0n, nanos: 1_000_000_000 } }
      ]
      for (const job of wrong) yield* Effect.flip(Schema.decodeEffect(Job)(job))
      yield* Effect.flip(Schema.encodeEffect(GrpcSchema.Duration)(Duration.infinity))
      yield* Effect.flip(Schema.encodeEffect(GrpcSchema.Timestamp)(DateTime.makeUnsafe(8.64e15)))
    }))
})

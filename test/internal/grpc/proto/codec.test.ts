import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import protobuf from "protobufjs"
import * as GrpcSchema from "../../../../src/services/GrpcSchema.ts"
import { reasonOf } from "../../../support/reason.ts"

/** What is written with spaces between the fields. */
const bytes = (hex: string) => Buffer.from(hex.replaceAll(" ", ""), "hex")

/** A message type `M` of definitions that begin as `header` says. */
const messageOf = Effect.fnUntraced(function*(definitions: string, header = `syntax = "proto3";`) {
  const schema = yield* GrpcSchema.fromSource(`${header}\n${definitions}`)
  const message = yield* Effect.fromResult(schema.message("M"))
  return {
    encode: (values: object) => Buffer.from(Result.getOrThrow(message.encode(values))).toString("hex"),
    decode: (hex: string) => Result.getOrThrow(message.decode(bytes(hex))),
    echo: (values: object) => Result.getOrThrow(Result.flatMap(message.encode(values), message.decode)),
    refused: (values: object) => reasonOf(Effect.fromResult(message.encode(values))),
    unreadable: (hex: string) => reasonOf(Effect.fromResult(message.decode(bytes(hex)))),
    message
  }
})

const proto2 = `syntax = "proto2";`

const bytesOf = (write: (writer: protobuf.Writer) => protobuf.Writer) =>
  Buffer.from(write(protobuf.Writer.create()).finish()).toString("hex")

describe("what is written", () => {
  it.effect("leaves out what has the default where that is the same as nothing", () =>
    Effect.gen(function*() {
      const { encode } = yield* messageOf(`
        enum E { A = 0; B = 1; }
        message M { int32 i = 1; int64 l = 2; double d = 3; bool b = 4; string s = 5; bytes raw = 6; E e = 7;
          repeated int32 many = 8; map<int32, int32> map = 9; optional int32 maybe = 10; oneof one { string o = 11; } M m = 12; }`)
      const none = { i: 0, l: 0n, d: 0, b: false, s: "", raw: new Uint8Array(), e: "A", many: [], map: {} }
      assert.strictEqual(encode(none), "")
      assert.strictEqual(encode({ l: "0", e: 0 }), "")
      assert.strictEqual(encode({ maybe: 0, o: "", m: {} }), "50005a006200")
      assert.strictEqual(encode({ many: [0], map: { 0: 0 } }), "4201004a0408001000")
    }))

  it.effect("keeps the sign of a zero", () =>
    Effect.gen(function*() {
      const { echo } = yield* messageOf(`message M { double d = 1; float f = 2; }`)
      assert.deepStrictEqual(echo({ d: -0, f: -0 }), { d: -0, f: -0 })
    }))

  it.effect("packs lists of numbers as the syntax and the options say", () =>
    Effect.gen(function*() {
      const packed = "0a020102"
      const expanded = "08010802"
      const cases: ReadonlyArray<readonly [header: string, options: string, bytes: string]> = [
        [`syntax = "proto3";`, "", packed],
        [`syntax = "proto3";`, " [packed = false]", expanded],
        [proto2, "", expanded],
        [proto2, " [packed = true]", packed],
        [`edition = "2023";`, "", packed],
        [`edition = "2023";`, " [features.repeated_field_encoding = EXPANDED]", expanded]
      ]
      for (const [header, options, bytes] of cases) {
        const { decode, encode } = yield* messageOf(`message M { repeated int32 i = 1${options}; }`, header)
        assert.strictEqual(encode({ i: [1, 2] }), bytes, `${header} ${options}`)
        // either is read, and both together
        assert.deepStrictEqual(decode(`${packed}${expanded}`), { i: [1, 2, 1, 2] })
      }
    }))

  it.effect("is the same buffer for no two messages, however large they are", () =>
    Effect.gen(function*() {
      const { message } = yield* messageOf(`message M { bytes raw = 1; }`)
      const sizes = [0, 1, 100, 511, 512, 513, 16_000, 16_384, 20_000, 100_000, 1]
      const encoded = sizes.map((size, index) =>
        Result.getOrThrow(message.encode({ raw: new Uint8Array(size).fill(index + 1) }))
      )
      for (const [index, bytes] of encoded.entries()) {
        const { raw } = Result.getOrThrow(message.decode(bytes))
        assert.deepStrictEqual(raw, new Uint8Array(sizes[index]!).fill(index + 1))
      }
    }))

  it.effect("is right after a value was refused, and when writing one value writes another", () =>
    Effect.gen(function*() {
      const { encode, message, refused } = yield* messageOf(`message M { M m = 1; string s = 2; int32 i = 3; }`)
      const expected = encode({ m: { s: "inner" }, i: 5 })
      yield* refused({ m: { s: "text", i: "not a number" } })
      assert.strictEqual(encode({ m: { s: "inner" }, i: 5 }), expected)
      let inner = ""
      const getter = {
        get m() {
          inner = Buffer.from(Result.getOrThrow(message.encode({ s: "another" }))).toString("hex")
          return { s: "inner" }
        },
        i: 5
      }
      assert.strictEqual(encode(getter), expected)
      assert.strictEqual(inner, encode({ s: "another" }))
    }))

  it.effect("takes objects of any prototype, and nothing that they inherit", () =>
    Effect.gen(function*() {
      const { echo, refused } = yield* messageOf(`message M { int32 i = 1; int32 z = 2; }`)
      class Order {
        readonly i = 7
        get z() {
          return 8
        }
      }
      const inherits: object = Object.create({ z: 1, nope: 2 }, { i: { value: 7, enumerable: true } })
      for (const values of [new Order(), inherits, Object.assign(Object.create(null), { i: 7 })]) {
        assert.deepStrictEqual(echo(values), { i: 7, z: 0 })
      }
      for (const values of [new Date(), new Map(), new Set(), [], new Uint8Array()]) {
        assert.strictEqual((yield* refused(values))["_tag"], "WrongType")
      }
    }))

  it.effect("fails with what a getter throws", () =>
    Effect.gen(function*() {
      const { refused } = yield* messageOf(`message M { M m = 1; }`)
      const reason = yield* refused({
        m: {
          get m() {
            throw new Error("gone")
          }
        }
      })
      assert.deepInclude(reason, { _tag: "WrongType", path: "m" })
      assert.include(String(reason["got"]), "gone")
    }))

  it.effect("names a whole message that is wrong", () =>
    Effect.gen(function*() {
      const { message } = yield* messageOf(`message M {}`)
      const failure = Result.flip(message.encode([]))
      assert.strictEqual(Result.getOrThrow(failure).message, `the message should be an object (M) and is an array`)
    }))
})

describe("maps", () => {
  it.effect("have keys of every type, as text or in a Map", () =>
    Effect.gen(function*() {
      const keys: ReadonlyArray<readonly [type: string, key: unknown]> = [
        ["int32", -5],
        ["sint32", -5],
        ["sfixed32", -5],
        ["uint32", 2 ** 32 - 1],
        ["fixed32", 2 ** 32 - 1],
        ["int64", -(2n ** 63n)],
        ["sint64", -(2n ** 63n)],
        ["sfixed64", -(2n ** 63n)],
        ["uint64", 2n ** 64n - 1n],
        ["fixed64", 2n ** 64n - 1n],
        ["bool", true],
        ["bool", false],
        ["string", "text"],
        ["string", "__proto__"],
        ["string", "constructor"]
      ]
      for (const [type, key] of keys) {
        const { echo } = yield* messageOf(`message M { map<${type}, string> map = 1; }`)
        const entries = Object.fromEntries([[String(key), "x"]])
        assert.deepStrictEqual(echo({ map: entries }), { map: entries }, type)
        assert.deepStrictEqual(echo({ map: new Map([[key, "x"]]) }), { map: entries }, type)
      }
    }))

  it.effect("take the last value of a key, and the defaults of what an entry leaves out", () =>
    Effect.gen(function*() {
      const { decode } = yield* messageOf(`message M { map<string, int32> map = 1; map<int32, M> inner = 2; }`)
      assert.deepStrictEqual(decode("0a050a01611001 0a050a01611002"), { map: { a: 2 }, inner: {} })
      assert.deepStrictEqual(decode("0a00"), { map: { "": 0 }, inner: {} })
      assert.deepStrictEqual(decode("0a021001"), { map: { "": 1 }, inner: {} })
      assert.deepStrictEqual(decode("1200"), { map: {}, inner: { 0: { map: {}, inner: {} } } })
      // unknown fields of an entry, and a value before its key
      assert.deepStrictEqual(decode("0a0818092801100a0a00"), { map: { "": 10 }, inner: {} })
    }))

  it.effect("refuse keys that do not fit", () =>
    Effect.gen(function*() {
      const { refused } = yield* messageOf(
        `message M { map<bool, int32> b = 1; map<uint32, int32> u = 2; map<string, int32> s = 3; }`
      )
      assert.deepInclude(yield* refused({ b: { yes: 1 } }), { path: "b.yes" })
      assert.deepInclude(yield* refused({ u: { "-1": 1 } }), { path: "u.-1" })
      assert.deepInclude(yield* refused({ s: new Map([[1, 1]]) }), { path: "s.1" })
      assert.deepInclude(yield* refused({ s: { a: null } }), { path: "s.a" })
    }))
})

describe("what is read", () => {
  it.effect("takes the last of a value that comes twice, and merges messages", () =>
    Effect.gen(function*() {
      const { decode } = yield* messageOf(
        `message M { int32 i = 1; M m = 2; repeated int32 many = 3; map<string, int32> map = 4; }`
      )
      const blank = { i: 0, many: [], map: {} }
      assert.deepStrictEqual(decode("08010802"), { ...blank, i: 2 })
      const first = bytesOf((writer) =>
        writer.uint32(18).fork().uint32(8).int32(1).uint32(24).int32(1).uint32(18).fork().uint32(8).int32(5).ldelim()
          .ldelim()
      )
      const second = bytesOf((writer) =>
        writer.uint32(18).fork().uint32(24).int32(2).uint32(18).fork().uint32(24).int32(6).ldelim().ldelim()
      )
      assert.deepStrictEqual(decode(first + second), {
        ...blank,
        m: { ...blank, i: 1, many: [1, 2], m: { ...blank, i: 5, many: [6] } }
      })
    }))

  it.effect("takes the last member of a oneof, and merges when it is the same message", () =>
    Effect.gen(function*() {
      const { decode } = yield* messageOf(
        `message M { oneof one { int32 a = 1; string b = 2; M m = 3; } optional int32 x = 4; optional int32 z = 5; }`
      )
      assert.deepStrictEqual(decode("08011201780802"), { a: 2 })
      assert.deepStrictEqual(decode("0801120178"), { b: "x" })
      assert.deepStrictEqual(decode("1a022001 1a022802"), { m: { x: 1, z: 2 } })
      assert.deepStrictEqual(decode("1a022001 0801 1a022802"), { m: { z: 2 } })
    }))

  it.effect("skips fields that it does not know, and known ones of another wire type", () =>
    Effect.gen(function*() {
      const { decode } = yield* messageOf(`message M { int32 i = 1; string s = 2; }`)
      const unknown = bytesOf((writer) =>
        writer.uint32(0x50).uint32(300).uint32(0x51).double(1).uint32(0x52).string("text").uint32(0x55).float(1)
          // a group with a group in it
          .uint32(0x53).uint32(0x0B).uint32(0x0C).uint32(0x54)
      )
      assert.deepStrictEqual(decode(`0801${unknown}120178`), { i: 1, s: "x" })
      assert.deepStrictEqual(decode("0a0161 1005"), { i: 0, s: "" })
    }))

  it.effect("reads varints that are longer than they need to be", () =>
    Effect.gen(function*() {
      const { decode } = yield* messageOf(`message M { int32 i = 1; int64 l = 2; bool b = 3; uint64 u = 4; }`)
      assert.deepStrictEqual(decode("08808000 10818000 18808000 20ffffffffffffffffff01"), {
        i: 0,
        l: 1n,
        b: false,
        u: 2n ** 64n - 1n
      })
      // what is too much for 32 bits is cut off
      assert.deepStrictEqual(decode("08ffffffffffffffffff01"), { i: -1, l: 0n, b: false, u: 0n })
    }))

  it.effect("fails with the place and the trouble when bytes are no message", () =>
    Effect.gen(function*() {
      const { unreadable } = yield* messageOf(`
        message M { string s = 1; int64 l = 2; M m = 3; repeated int32 many = 4; map<string, string> map = 5; bytes raw = 6;
          double d = 7; repeated M list = 8; repeated int64 longs = 9; fixed64 f = 10; }`)
      const cases: ReadonlyArray<readonly [hex: string, path: string, got: string]> = [
        ["0ac80161", "s", "index out of range"],
        ["0a02c328", "s", "not valid for encoding utf-8"],
        ["10", "l", "cut off"],
        ["10ffff", "l", "cut off"],
        ["10ffffffffffffffffffff01", "l", "longer than ten bytes"],
        ["1a05", "m", "5 bytes announced, 0 there"],
        ["1a030a0561", "m.s", "index out of range"],
        ["2203ffffff", "many", "index out of range"],
        ["2a050a01611203", "map.a", ""],
        ["2a060a016112c328", "map.a", ""],
        ["32056162", "raw", "index out of range"],
        ["3901020304", "d", "index out of range"],
        ["42004203 0a0161 42020a05", "list[2].s", "index out of range"],
        ["4a0180", "longs", "cut off"],
        ["5101", "f", "index out of range"],
        ["00", "", "field number 0"],
        ["0f", "", "wire type"],
        ["0c", "", "wire type"],
        ["80", "", "index out of range"],
        ["ffffffffff01", "", "tag"],
        ["530c", "", "end group"]
      ]
      for (const [hex, path, got] of cases) {
        const reason = yield* unreadable(hex)
        assert.strictEqual(reason["_tag"], "WrongType", hex)
        assert.strictEqual(reason["path"], path, hex)
        assert.include(String(reason["got"]), got, hex)
      }
    }))

  it.effect("takes text that is no UTF-8 where the definition does not demand it", () =>
    Effect.gen(function*() {
      const { decode } = yield* messageOf(`message M { optional string s = 1; }`, proto2)
      assert.deepStrictEqual(decode("0a02c328"), { s: "\ufffd(" })
    }))

  it.effect("goes a hundred levels deep, and no deeper", () =>
    Effect.gen(function*() {
      const { message, refused, unreadable } = yield* messageOf(
        `message M { M m = 1; repeated M list = 2; map<string, M> map = 3; }`
      )
      const nested = (depth: number) => {
        let values: object = {}
        for (let level = 0; level < depth; level++) values = { m: values }
        return values
      }
      const hundred = Result.getOrThrow(message.encode(nested(100)))
      assert.isTrue(Result.isSuccess(message.decode(hundred)))
      assert.include(String((yield* refused(nested(101)))["expected"]), "100 levels")
      const wrapped = bytesOf((writer) => writer.uint32(10).bytes(hundred))
      assert.include(String((yield* unreadable(wrapped))["expected"]), "100 levels")
      // and of groups that it does not know, however many
      assert.strictEqual((yield* unreadable("53".repeat(10_000)))["_tag"], "WrongType")
    }))

  it.effect("has bytes that are nobody else's, of any size", () =>
    Effect.gen(function*() {
      const { message } = yield* messageOf(
        `message M { repeated bytes raw = 1; google.protobuf.BytesValue one = 2; }`,
        `
        syntax = "proto3"; import "google/protobuf/wrappers.proto";`
      )
      const sizes = [0, 1, 100, 2047, 2048, 2049, 16_384, 100_000, 3]
      const sent = sizes.map((size) => new Uint8Array(size).fill(size % 256))
      const wire = Result.getOrThrow(message.encode({ raw: sent, one: sent[2] }))
      const read = Array.from({ length: 20 }, () => Result.getOrThrow(message.decode(wire)))
      wire.fill(0xFF)
      for (const { one, raw } of read) {
        assert.deepStrictEqual(raw, sent)
        assert.deepStrictEqual(one, sent[2])
        assert.strictEqual(Object.getPrototypeOf(one), Uint8Array.prototype)
        for (const bytes of Array.isArray(raw) ? raw : []) if (bytes instanceof Uint8Array) bytes.fill(0xAA)
      }
    }))

  it.effect("has fields by names that objects have already", () =>
    Effect.gen(function*() {
      const { echo } = yield* messageOf(
        `message M { int32 constructor = 1; string toString = 2; optional M valueOf = 3; repeated int32 hasOwnProperty = 4; }`
      )
      const values = { constructor: 1, toString: "x", hasOwnProperty: [1] }
      assert.deepStrictEqual(echo({ ...values, valueOf: values }), { ...values, valueOf: values })
      assert.isFalse(Object.hasOwn(echo(values), "valueOf"))
    }))
})

describe("proto2", () => {
  it.effect("has groups, alone and in lists", () =>
    Effect.gen(function*() {
      const { decode, echo, encode, unreadable } = yield* messageOf(
        `message M { optional group One = 1 { optional int32 i = 1; } repeated group Many = 2 { optional int32 i = 1; } }`,
        proto2
      )
      const values = { one: { i: 1 }, many: [{ i: 2 }, {}] }
      assert.strictEqual(encode(values), "0b08010c130802141314")
      assert.deepStrictEqual(echo(values), values)
      assert.deepStrictEqual(decode("0b08010c 0b08020c"), { one: { i: 2 }, many: [] })
      assert.deepInclude(yield* unreadable("0b0801"), { path: "one", got: "malformed: its group does not end" })
      assert.strictEqual((yield* unreadable("0b080114"))["_tag"], "WrongType")
    }))

  it.effect("demands required fields, in requests and in responses", () =>
    Effect.gen(function*() {
      const { echo, refused, unreadable } = yield* messageOf(
        `message M { optional M m = 1; required int32 i = 2; }`,
        proto2
      )
      assert.deepInclude(yield* refused({ m: {}, i: 1 }), { path: "m.i", got: "missing" })
      assert.deepInclude(yield* refused({ i: null }), { path: "i", got: "missing" })
      assert.deepInclude(yield* unreadable("0a001005"), { path: "m.i", got: "missing" })
      assert.deepStrictEqual(echo({ i: 0 }), { i: 0 })
    }))

  it.effect("has enums with no other numbers than theirs", () =>
    Effect.gen(function*() {
      const { decode, refused } = yield* messageOf(
        `enum E { A = 1; B = 2; } message M { optional E e = 1; repeated E many = 2; map<int32, E> map = 3;
          oneof one { E o = 4; int32 x = 5; } }`,
        proto2
      )
      assert.deepInclude(yield* refused({ e: 3 }), { path: "e" })
      assert.deepInclude(yield* refused({ many: ["A", 3] }), { path: "many[1]" })
      // a number that is none counts as a field that is not known
      assert.deepStrictEqual(
        decode("0801 0803 1003 1001 12020302 1a0408011003 1a0408021001 2801 2003"),
        {
          e: "A",
          many: ["A", "B"],
          map: { 2: "A" },
          x: 1
        }
      )
      assert.deepStrictEqual(decode("1a020801"), { many: [], map: { 1: "A" } })
    }))

  it.effect("has extensions, by their full name in brackets", () =>
    Effect.gen(function*() {
      const schema = yield* GrpcSchema.fromSource(`syntax = "proto2"; package acme;
        message Order { optional int32 i = 1; extensions 100 to 200; }
        message Scope { extend Order { repeated string tags = 101; } }
        extend Order { optional string note = 100; }`)
      const message = yield* Effect.fromResult(schema.message("acme.Order"))
      const values = { i: 1, "[acme.note]": "x", "[acme.Scope.tags]": ["a", "b"] }
      const bytes = Result.getOrThrow(message.encode(values))
      assert.strictEqual(Buffer.from(bytes).toString("hex"), "0801a2060178aa060161aa060162")
      assert.deepStrictEqual(Result.getOrThrow(message.decode(bytes)), values)
      for (const name of ["acme.note", ".acme.note", "note"]) {
        const reason = yield* reasonOf(Effect.fromResult(message.encode({ [name]: "x" })))
        assert.deepInclude(reason, { _tag: "UnknownField", path: name })
      }
    }))
})

describe("editions", () => {
  it.effect("have the features of their options", () =>
    Effect.gen(function*() {
      const { encode, echo, refused, decode } = yield* messageOf(
        `
        enum Closed { option features.enum_type = CLOSED; A = 1; }
        message M {
          int32 explicit = 1;
          int32 implicit = 2 [features.field_presence = IMPLICIT];
          M group = 3 [features.message_encoding = DELIMITED];
          Closed closed = 4;
          string lenient = 5 [features.utf8_validation = NONE];
        }`,
        `edition = "2023";`
      )
      assert.strictEqual(encode({ explicit: 0, implicit: 0, group: { explicit: 1 } }), "08001b08011c")
      assert.deepStrictEqual(echo({ group: { explicit: 1 } }), { implicit: 0, group: { explicit: 1, implicit: 0 } })
      assert.deepInclude(yield* refused({ closed: 5 }), { path: "closed" })
      assert.deepStrictEqual(decode("2a02c328"), { implicit: 0, lenient: "\ufffd(" })
    }))
})

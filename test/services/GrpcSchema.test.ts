import { assert, describe, it } from "@effect/vitest"
import * as ProtoLoader from "@grpc/proto-loader"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as GrpcSchema from "../../src/services/GrpcSchema.ts"
import { greeterProto } from "../support/greeter.ts"
import { reasonOf } from "../support/reason.ts"
import { temporaryFolder } from "../support/servers.ts"

const money = `syntax = "proto3";
package acme;
message Money { string currency = 1; int64 units = 2; }`

const orders = `syntax = "proto3";
package acme;
import "acme/money.proto";
import "google/protobuf/timestamp.proto";
message Order { string id = 1; Money total = 2; google.protobuf.Timestamp placed_at = 3; }
service Orders {
  rpc Get(Order) returns (Order);
  rpc Watch(Order) returns (stream Order);
  rpc Upload(stream Order) returns (Order);
  rpc Chat(stream Order) returns (stream Order);
}`

/** One message type, through a service that takes and gives it. */
const messageOf = Effect.fnUntraced(function*(definition: string, header = `syntax = "proto3";`) {
  const schema = yield* GrpcSchema.fromSource(
    `${header}\n${definition}\nservice S { rpc Echo(M) returns (M); }`
  )
  const { request } = yield* Effect.fromResult(schema.method("S/Echo"))
  return {
    encode: request.encode,
    /** What comes back when a value has gone over the wire. */
    echo: (values: object) => Result.flatMap(request.encode(values), request.decode),
    refused: (values: object) => reasonOf(Effect.fromResult(request.encode(values)))
  }
})

const echoed = (values: object, echo: (values: object) => Result.Result<GrpcSchema.Values, unknown>) =>
  Result.getOrThrow(echo(values))

describe("GrpcSchema", () => {
  it.effect("reads definitions that import each other, in any order", () =>
    Effect.gen(function*() {
      for (const order of [["acme/money.proto", "orders.proto"], ["orders.proto", "acme/money.proto"]]) {
        const sources = Object.fromEntries(order.map((name) => [name, name === "orders.proto" ? orders : money]))
        const schema = yield* GrpcSchema.fromSources(sources)
        assert.deepStrictEqual(schema.services.map(({ name }) => name), ["acme.Orders"])
        assert.deepStrictEqual(schema.services[0]?.methods.map(({ kind, name }) => [name, kind]), [
          ["Get", "unary"],
          ["Watch", "serverStream"],
          ["Upload", "clientStream"],
          ["Chat", "bidi"]
        ])
      }
    }))

  it.effect("describes messages: names, types, enums, maps, oneofs and comments", () =>
    Effect.gen(function*() {
      const schema = yield* GrpcSchema.fromFile(greeterProto)
      const echo = yield* Effect.fromResult(schema.method("greeter.v1.Greeter/Echo"))
      assert.strictEqual(echo.comment, "Gives back what it got, whatever that is.")
      assert.strictEqual(echo.request.name, "greeter.v1.Everything")
      const field = (name: string) => echo.request.fields.find((field) => field.name === name)
      assert.deepInclude(field("small_unsigned"), { jsonName: "smallUnsigned", type: "uint32", kind: "scalar" })
      assert.deepInclude(field("language"), {
        type: "greeter.v1.Language",
        kind: "enum",
        values: ["ENGLISH", "FRENCH"]
      })
      assert.deepInclude(field("people"), { type: "greeter.v1.HelloRequest", kind: "message", repeated: true })
      assert.deepInclude(field("names_by_id"), { type: "string", mapKey: "int64" })
      assert.deepInclude(field("chosen_text"), { oneof: "choice", presence: true })
      assert.deepInclude(field("maybe"), { oneof: undefined, presence: true })
      assert.deepInclude(field("small"), { oneof: undefined, presence: false })
    }))

  it.effect("finds the imports of a file in the folders it is told, then beside the file", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const shared = Path.join(folder, "shared")
      Fs.mkdirSync(Path.join(shared, "acme"), { recursive: true })
      Fs.mkdirSync(Path.join(folder, "acme"), { recursive: true })
      Fs.writeFileSync(Path.join(shared, "acme/money.proto"), money)
      const file = Path.join(folder, "orders.proto")
      Fs.writeFileSync(file, orders)
      const missing = yield* reasonOf(GrpcSchema.fromFile(file))
      assert.deepInclude(missing, { _tag: "MissingImport", file, import: "acme/money.proto" })
      yield* GrpcSchema.fromFile(file, { includeDirs: [shared] })
      Fs.writeFileSync(Path.join(folder, "acme/money.proto"), money)
      yield* GrpcSchema.fromFile(file)
    }))

  it.effect("says which file cannot be read", () =>
    Effect.gen(function*() {
      const reason = yield* reasonOf(GrpcSchema.fromFile("/nowhere/at-all.proto"))
      assert.deepInclude(reason, { _tag: "UnreadableFile", path: "/nowhere/at-all.proto" })
    }))

  it.effect("says in which file and line a definition cannot be understood", () =>
    Effect.gen(function*() {
      const reason = yield* reasonOf(
        GrpcSchema.fromSources({ "good.proto": money, "bad.proto": `syntax = "proto3";\nmessage M {\n  int32 a 1;\n}` })
      )
      assert.deepInclude(reason, { _tag: "Syntax", file: "bad.proto", line: 3 })
    }))

  it.effect("names an import that is missing, and who wants it", () =>
    Effect.gen(function*() {
      const reason = yield* reasonOf(GrpcSchema.fromSources({ "orders.proto": orders }))
      assert.deepInclude(reason, { _tag: "MissingImport", file: "orders.proto", import: "acme/money.proto" })
    }))

  it.effect("names a type that nothing defines, and the file that uses it", () =>
    Effect.gen(function*() {
      const field = yield* reasonOf(
        GrpcSchema.fromSources({ "good.proto": money, "a.proto": `syntax = "proto3"; message M { Nope n = 1; }` })
      )
      assert.deepInclude(field, { _tag: "UnresolvedType", file: "a.proto", type: "Nope" })
      const method = yield* reasonOf(
        GrpcSchema.fromSources({
          "b.proto": `syntax = "proto3"; message M {} service S { rpc R(M) returns (x.Nope); }`
        })
      )
      assert.deepInclude(method, { _tag: "UnresolvedType", file: "b.proto", type: "x.Nope" })
    }))

  it.effect("refuses two definitions of one name", () =>
    Effect.gen(function*() {
      const reason = yield* reasonOf(GrpcSchema.fromSources({ "a.proto": money, "b.proto": money }))
      assert.deepInclude(reason, { _tag: "Syntax", file: "b.proto" })
    }))

  it.effect("knows the well-known types, custom options among them", () =>
    Effect.gen(function*() {
      const names = ["any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers", "descriptor"]
      const schema = yield* GrpcSchema.fromSource(`syntax = "proto3";
        ${names.map((name) => `import "google/protobuf/${name}.proto";`).join("\n")}
        extend google.protobuf.MethodOptions { string note = 50001; }
        message M { google.protobuf.Struct s = 1; google.protobuf.Any a = 2; google.protobuf.Timestamp t = 3; }
        service S { rpc R(M) returns (google.protobuf.Empty) { option (note) = "x"; } }`)
      const { request } = yield* Effect.fromResult(schema.method("S/R"))
      const values = {
        s: { fields: { name: { stringValue: "Ada" } } },
        t: { seconds: 1_700_000_000n, nanos: 5 }
      }
      assert.deepStrictEqual(Result.getOrThrow(Result.flatMap(request.encode(values), request.decode)), values)
    }))

  it.effect("takes what proto-loader made, whatever its options, with our names and checks", () =>
    Effect.gen(function*() {
      for (const options of [{}, { keepCase: true }, { longs: String, enums: String, defaults: true, oneofs: true }]) {
        const schema = yield* GrpcSchema.fromPackageDefinition(ProtoLoader.loadSync(greeterProto, options))
        const { request } = yield* Effect.fromResult(schema.method("greeter.v1.Greeter/Echo"))
        const values = {
          smallUnsigned: 7,
          big: 9007199254740993n,
          language: "FRENCH",
          counts: { a: 1 },
          namesById: { "9007199254740993": "x" },
          maybe: 0,
          chosenText: ""
        }
        const back = Result.getOrThrow(Result.flatMap(request.encode(values), request.decode))
        assert.deepInclude(back, values)
        assert.notProperty(back, "again")
        const reason = yield* reasonOf(Effect.fromResult(request.encode({ nope: 1 })))
        assert.strictEqual(reason["_tag"], "UnknownField")
      }
    }))

  it.effect("names the methods that there are when one is unknown", () =>
    Effect.gen(function*() {
      const schema = yield* GrpcSchema.fromSources({ "orders.proto": orders, "acme/money.proto": money })
      const known = ["acme.Orders/Get", "acme.Orders/Watch", "acme.Orders/Upload", "acme.Orders/Chat"]
      for (const method of ["acme.Orders/Put", "other.Service/Get", "nonsense"]) {
        const reason = yield* reasonOf(Effect.fromResult(schema.method(method)))
        assert.deepInclude(reason, { _tag: "UnknownMethod", method, known })
      }
      assert.isTrue(Result.isSuccess(schema.method("/acme.Orders/Get")))
    }))
})

describe("the messages of a GrpcSchema", () => {
  it.effect("take the names of the .proto and JSON names, and give JSON names", () =>
    Effect.gen(function*() {
      const { echo, refused } = yield* messageOf(
        `message M { int32 user_id = 1; int32 x_1 = 2; int32 other = 3 [json_name = "else"]; }`
      )
      assert.deepStrictEqual(echoed({ user_id: 1, x_1: 2, other: 3 }, echo), { userId: 1, x1: 2, else: 3 })
      assert.deepStrictEqual(echoed({ userId: 1, x1: 2, else: 3 }, echo), { userId: 1, x1: 2, else: 3 })
      const twice = yield* refused({ userId: 1, user_id: 1 })
      assert.deepInclude(twice, { _tag: "WrongType", path: "user_id" })
    }))

  it.effect("refuse fields that do not exist, with their path", () =>
    Effect.gen(function*() {
      const { refused } = yield* messageOf(`message M { M inner = 1; repeated M many = 2; map<string, M> by = 3; }`)
      const known = ["inner", "many", "by"]
      assert.deepInclude(yield* refused({ nope: 1 }), { _tag: "UnknownField", path: "nope", known })
      assert.deepInclude(yield* refused({ inner: { nope: undefined } }), { _tag: "UnknownField", path: "inner.nope" })
      assert.deepInclude(yield* refused({ many: [{}, { nope: 1 }] }), { path: "many[1].nope" })
      assert.deepInclude(yield* refused({ by: { key: { nope: 1 } } }), { path: "by.key.nope" })
    }))

  it.effect("refuse values of the wrong type or out of range", () =>
    Effect.gen(function*() {
      const { refused } = yield* messageOf(`
        enum Colour { RED = 0; BLUE = 1; }
        message M {
          int32 i = 1; uint32 u = 2; int64 l = 3; uint64 ul = 4; float f = 5; double d = 6; bool b = 7; string s = 8;
          bytes raw = 9; Colour c = 10; M m = 11; repeated int32 many = 12; map<int32, int32> map = 13;
          oneof one { int32 a = 14; int32 z = 15; }
        }`)
      const wrong: ReadonlyArray<readonly [path: string, values: object]> = [
        ["i", { i: "abc" }],
        ["i", { i: 1.5 }],
        ["i", { i: NaN }],
        ["i", { i: true }],
        ["i", { i: 2147483648 }],
        ["i", { i: -2147483649n }],
        ["u", { u: -1 }],
        ["u", { u: 4294967296 }],
        ["l", { l: 2 ** 53 }],
        ["l", { l: 9223372036854775808n }],
        ["l", { l: "1e3" }],
        ["ul", { ul: -1n }],
        ["ul", { ul: "18446744073709551616" }],
        ["f", { f: 1e39 }],
        ["f", { f: "1" }],
        ["d", { d: "1" }],
        ["b", { b: 1 }],
        ["s", { s: 1 }],
        ["s", { s: "\ud800" }],
        ["raw", { raw: "text" }],
        ["raw", { raw: [1, 2] }],
        ["c", { c: "GREEN" }],
        ["c", { c: "toString" }],
        ["c", { c: 2 ** 31 }],
        ["m", { m: 1 }],
        ["m", { m: [] }],
        ["many", { many: 1 }],
        ["many[1]", { many: [1, "x"] }],
        ["many[0]", { many: [null] }],
        ["map", { map: [] }],
        ["map.x", { map: { x: 1 } }],
        ["map.1", { map: { 1: "x" } }],
        ["one", { a: 1, z: 2 }]
      ]
      for (const [path, values] of wrong) {
        assert.deepInclude(yield* refused(values), { _tag: "WrongType", path }, path)
      }
    }))

  it.effect("take 64-bit numbers as bigint, decimal text or an exact number", () =>
    Effect.gen(function*() {
      const { echo } = yield* messageOf(`message M { int64 l = 1; uint64 u = 2; int32 i = 3; }`)
      assert.deepStrictEqual(echoed({ l: "-9223372036854775808", u: "18446744073709551615", i: 5n }, echo), {
        l: -9223372036854775808n,
        u: 18446744073709551615n,
        i: 5
      })
      assert.deepStrictEqual(echoed({ l: Number.MIN_SAFE_INTEGER, u: 0 }, echo), {
        l: BigInt(Number.MIN_SAFE_INTEGER),
        u: 0n,
        i: 0
      })
    }))

  it.effect.prop(
    "keep every 64-bit number",
    { signed: Schema.BigInt, unsigned: Schema.BigInt },
    ({ signed, unsigned }) =>
      Effect.gen(function*() {
        const { echo } = yield* messageOf(`message M {
          int64 a = 1; sint64 b = 2; sfixed64 c = 3; uint64 d = 4; fixed64 e = 5; map<int64, uint64> f = 6;
        }`)
        const i = BigInt.asIntN(64, signed * 0x9E3779B97F4A7C15n)
        const u = BigInt.asUintN(64, unsigned * 0x9E3779B97F4A7C15n)
        const values = { a: i, b: i, c: i, d: u, e: u, f: { [String(i)]: u } }
        assert.deepStrictEqual(echoed(values, echo), values)
      })
  )

  it.effect("tell what was not set from what was set to the default", () =>
    Effect.gen(function*() {
      const { echo } = yield* messageOf(`message M {
        int32 plain = 1; optional int32 maybe = 2; M inner = 3; oneof one { string a = 4; int32 b = 5; } repeated int32 many = 6;
        map<string, int32> map = 7; bytes raw = 8; Colour c = 9; } enum Colour { RED = 0; }`)
      const empty = { plain: 0, many: [], map: {}, raw: new Uint8Array(), c: "RED" }
      assert.deepStrictEqual(echoed({ plain: null, maybe: undefined, inner: null }, echo), empty)
      const set = { ...empty, maybe: 0, inner: empty, a: "" }
      assert.deepStrictEqual(echoed(set, echo), set)
    }))

  it.effect("give names to enum values, and numbers to those that the definition does not have", () =>
    Effect.gen(function*() {
      const { echo } = yield* messageOf(`enum C { RED = 0; BLUE = 1; } message M { C c = 1; repeated C many = 2; }`)
      assert.deepStrictEqual(echoed({ c: 1, many: ["RED", 1, 7] }, echo), { c: "BLUE", many: ["RED", "BLUE", 7] })
    }))

  it.effect("give bytes of their own", () =>
    Effect.gen(function*() {
      const schema = yield* GrpcSchema.fromSource(
        `syntax = "proto3"; message M { bytes raw = 1; } service S { rpc R(M) returns (M); }`
      )
      const { request } = yield* Effect.fromResult(schema.method("S/R"))
      const wire = Result.getOrThrow(request.encode({ raw: new Uint8Array([1, 2, 3]) }))
      const { raw } = Result.getOrThrow(request.decode(wire))
      wire.fill(0)
      assert.deepStrictEqual(raw, new Uint8Array([1, 2, 3]))
    }))

  it.effect("refuse objects that contain themselves", () =>
    Effect.gen(function*() {
      const { refused } = yield* messageOf(`message M { M inner = 1; }`)
      const loop: { inner?: object } = {}
      loop.inner = loop
      assert.strictEqual((yield* refused(loop))["_tag"], "WrongType")
    }))

  it.effect("demand the required fields of proto2 and read its defaults as not set", () =>
    Effect.gen(function*() {
      const { echo, refused } = yield* messageOf(
        `message M { required int32 a = 1; optional int32 b = 2 [default = 7]; optional group G = 3 { optional int32 q = 1; } }`,
        `syntax = "proto2";`
      )
      assert.deepInclude(yield* refused({}), { _tag: "WrongType", path: "a" })
      assert.deepStrictEqual(echoed({ a: 1, g: { q: 2 } }, echo), { a: 1, g: { q: 2 } })
    }))

  it.effect("fail on bytes that are not the message", () =>
    Effect.gen(function*() {
      const schema = yield* GrpcSchema.fromSource(
        `syntax = "proto3"; message M { string s = 1; } service S { rpc R(M) returns (M); }`
      )
      const { response } = yield* Effect.fromResult(schema.method("S/R"))
      const reason = yield* reasonOf(Effect.fromResult(response.decode(new Uint8Array([10, 200, 1]))))
      assert.strictEqual(reason["_tag"], "WrongType")
    }))
})

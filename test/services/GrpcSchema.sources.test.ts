import { assert, describe, it } from "@effect/vitest"
import * as ProtoLoader from "@grpc/proto-loader"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as GrpcSchema from "../../src/services/GrpcSchema.ts"
import { registryOf, setOf } from "../support/grpc/descriptors.ts"
import { reasonOf } from "../support/reason.ts"
import { temporaryFolder } from "../support/servers.ts"

const orders = `
syntax = "proto3";
package acme;
import "acme/money.proto";
import "google/protobuf/timestamp.proto";
message Order { Money total = 1; google.protobuf.Timestamp at = 2; map<string, Money> parts = 3; Colour colour = 4; }
enum Colour { RED = 0; }
service Orders { rpc Get(Order) returns (Order); }
`
const money = `syntax = "proto3"; package acme; message Money { int64 units = 1; }`

const files = Effect.fnUntraced(function*(contents: { readonly [name: string]: string }) {
  const folder = yield* temporaryFolder
  for (const [name, text] of Object.entries(contents)) {
    const path = Path.join(folder, name)
    Fs.mkdirSync(Path.dirname(path), { recursive: true })
    Fs.writeFileSync(path, text)
  }
  return folder
})

const namesOf = (schema: GrpcSchema.GrpcSchema) => schema.files.map(({ name }) => name)

describe("the files of a GrpcSchema", () => {
  it.effect("are called as others import them, by the folders that imports come from", () =>
    Effect.gen(function*() {
      const folder = yield* files({ "protos/acme/orders.proto": orders, "protos/acme/money.proto": money })
      const includeDirs = [Path.join(folder, "protos")]
      const names = ["acme/money.proto", "google/protobuf/timestamp.proto", "acme/orders.proto"]
      const byPath = yield* GrpcSchema.fromFile(Path.join(folder, "protos/acme/orders.proto"), { includeDirs })
      assert.sameMembers(namesOf(byPath), names)
      const byName = yield* GrpcSchema.fromFile("acme/orders.proto", { includeDirs })
      assert.sameMembers(namesOf(byName), names)
      registryOf(byName)
    }))

  it.effect("can be several, and import each other", () =>
    Effect.gen(function*() {
      const folder = yield* files({
        "a.proto": `syntax = "proto3"; import "b.proto"; message A { B b = 1; }`,
        "b.proto": `syntax = "proto3"; message B {}`,
        "c.proto": `syntax = "proto3"; message C {}`
      })
      const paths = ["a.proto", "b.proto", "c.proto", "b.proto"].map((name) => Path.join(folder, name))
      assert.deepStrictEqual(namesOf(yield* GrpcSchema.fromFiles(paths)), ["b.proto", "a.proto", "c.proto"])
    }))

  it.effect("can have one name in several folders", () =>
    Effect.gen(function*() {
      const folder = yield* files({
        "one/a.proto": `syntax = "proto3"; message A {}`,
        "two/a.proto": `syntax = "proto3"; message B {}`
      })
      const paths = ["one/a.proto", "two/a.proto"].map((name) => Path.join(folder, name))
      assert.deepStrictEqual(namesOf(yield* GrpcSchema.fromFiles(paths)), ["a.proto", paths[1]!])
    }))

  it.effect("say at which path they are wrong", () =>
    Effect.gen(function*() {
      const folder = yield* files({
        "a.proto": `syntax = "proto3";\nimport "b.proto";`,
        "b.proto": `syntax = "proto3";\n\nmessage {}`
      })
      const reason = yield* reasonOf(GrpcSchema.fromFile(Path.join(folder, "a.proto")))
      assert.deepInclude(reason, { _tag: "Syntax", file: Path.join(folder, "b.proto"), line: 3 })
    }))

  it.effect("say which cannot be read, a folder for one", () =>
    Effect.gen(function*() {
      const folder = yield* files({})
      const reason = yield* reasonOf(GrpcSchema.fromFile(folder))
      assert.deepInclude(reason, { _tag: "UnreadableFile", path: folder })
      const none = yield* reasonOf(GrpcSchema.fromFile("nowhere.proto", { includeDirs: [folder] }))
      assert.deepInclude(none, { _tag: "UnreadableFile", path: "nowhere.proto" })
    }))
})

describe("the sources of a GrpcSchema", () => {
  it.effect("can be texts and files, in any order", () =>
    Effect.gen(function*() {
      const folder = yield* files({ "somewhere/money.proto": money })
      const file = Path.join(folder, "somewhere/money.proto")
      const sources = { "acme/orders.proto": orders, "acme/money.proto": { file } }
      for (const given of [sources, Object.fromEntries(Object.entries(sources).toReversed())]) {
        const schema = yield* GrpcSchema.fromSources(given)
        assert.sameMembers(namesOf(schema), [...Object.keys(sources), "google/protobuf/timestamp.proto"])
      }
      const schema = yield* GrpcSchema.fromSources({ "a.proto": { text: money } })
      assert.deepStrictEqual(namesOf(schema), ["a.proto"])
    }))

  it.effect("that are files find their imports beside them", () =>
    Effect.gen(function*() {
      const folder = yield* files({ "orders.proto": orders, "acme/money.proto": money })
      const schema = yield* GrpcSchema.fromSources({ "my/orders.proto": { file: Path.join(folder, "orders.proto") } })
      assert.sameMembers(namesOf(schema), ["my/orders.proto", "acme/money.proto", "google/protobuf/timestamp.proto"])
    }))

  it.effect("go before the definitions that come along", () =>
    Effect.gen(function*() {
      const schema = yield* GrpcSchema.fromSources({
        "a.proto":
          `syntax = "proto3"; import "google/protobuf/empty.proto"; message M { google.protobuf.Empty e = 1; }`,
        "google/protobuf/empty.proto": `syntax = "proto3"; package google.protobuf; message Empty { int32 own = 1; }`
      })
      const { fields } = Result.getOrThrow(schema.message("google.protobuf.Empty"))
      assert.deepStrictEqual(fields.map(({ name }) => name), ["own"])
    }))

  it.effect("that are texts read no files", () =>
    Effect.gen(function*() {
      const folder = yield* files({ "secret.proto": money })
      const reason = yield* reasonOf(
        GrpcSchema.fromSources({ "a.proto": `import "${Path.join(folder, "secret.proto")}";` })
      )
      assert.strictEqual(reason["_tag"], "MissingImport")
    }))

  it.effect("that are paths or URLs by mistake are told so", () =>
    Effect.gen(function*() {
      for (const text of ["protos/orders.proto", "C:\\my protos\\orders.proto", "https://x.example/orders.proto"]) {
        const reason = yield* reasonOf(GrpcSchema.fromSources({ "a.proto": text }))
        assert.deepInclude(reason, {
          _tag: "Syntax",
          file: "a.proto",
          detail: "a string is the text of a definition; a path is written { file } and a URL { url }"
        })
      }
      for (const text of ["// see orders.proto", `import "google/protobuf/any.proto";`, ""]) {
        yield* GrpcSchema.fromSource(text)
      }
    }))
})

describe("a definition that no compiler takes", () => {
  for (
    const [what, text] of Object.entries({
      "a field with the number 0": "message M { int32 a = 0; }",
      "a field with a number of protobuf's own": "message M { int32 a = 19000; }",
      "a field with a number that is too large": "message M { map<string, int32> a = 536870912; }",
      "two fields with one number": "message M { int32 a = 1; int32 b = 1; }",
      "a field with a number that is reserved": "message M { reserved 1; int32 a = 1; }",
      "an enum without values": "enum E {}",
      "an enum that does not begin with 0": "enum E { A = 1; }",
      "two values with one number": "enum E { A = 0; B = 0; }",
      "a required field": "message M { required int32 a = 1; }",
      "a map in a oneof": "message M { oneof o { map<string, int32> a = 1; } }"
    })
  ) {
    it.effect(`is refused: ${what}`, () =>
      Effect.gen(function*() {
        const reason = yield* reasonOf(GrpcSchema.fromSources({ "a.proto": `syntax = "proto3"; ${text}` }))
        assert.deepInclude(reason, { _tag: "Syntax", file: "a.proto" })
      }))
  }
})

describe("a descriptor set", () => {
  it.effect("gives what its sources give", () =>
    Effect.gen(function*() {
      const source = yield* GrpcSchema.fromSources({ "acme/orders.proto": orders, "acme/money.proto": money })
      const schema = yield* GrpcSchema.fromDescriptorSet(setOf(source))
      assert.deepStrictEqual(
        JSON.stringify(Result.getOrThrow(schema.method("acme.Orders/Get"))),
        JSON.stringify(Result.getOrThrow(source.method("acme.Orders/Get")))
      )
      assert.deepStrictEqual(namesOf(schema), namesOf(source))
    }))

  it.effect("can lack Google's definitions, and nothing else", () =>
    Effect.gen(function*() {
      const source = yield* GrpcSchema.fromSources({ "acme/orders.proto": orders, "acme/money.proto": money })
      const schema = yield* GrpcSchema.fromDescriptorSet(setOf(source, (name) => name.startsWith("acme/")))
      assert.sameMembers(namesOf(schema), namesOf(source))
      registryOf(schema)
      const reason = yield* reasonOf(
        GrpcSchema.fromDescriptorSet(setOf(source, (name) => name !== "acme/money.proto"))
      )
      assert.deepInclude(reason, { _tag: "MissingImport", file: "acme/orders.proto", import: "acme/money.proto" })
    }))

  it.effect("names a type that its files do not define", () =>
    Effect.gen(function*() {
      const source = yield* GrpcSchema.fromSource(
        `syntax = "proto3"; package a; message Longer {} message M { Longer l = 1; }`
      )
      const bytes = Buffer.from(
        Buffer.from(setOf(source)).toString("latin1").replace("\x06Longer", "\x06Shorty"),
        "latin1"
      )
      const reason = yield* reasonOf(GrpcSchema.fromDescriptorSet(bytes))
      assert.deepInclude(reason, { _tag: "UnresolvedType", file: "source.proto", type: "a.Longer" })
    }))

  it.effect("is refused when it is something else", () =>
    Effect.gen(function*() {
      for (const bytes of [[0x0a, 0xff], [0x0a, 2, 0x0a, 9], [0x0a, 0], [7, 7, 7]]) {
        const reason = yield* reasonOf(GrpcSchema.fromDescriptorSet(new Uint8Array(bytes)))
        assert.strictEqual(reason["_tag"], "Syntax", String(bytes))
      }
      const empty = yield* GrpcSchema.fromDescriptorSet(new Uint8Array())
      assert.deepStrictEqual(empty.services, [])
    }))
})

describe("what proto-loader made", () => {
  it.effect("becomes files that others can read, with their imports", () =>
    Effect.gen(function*() {
      const folder = yield* files({ "orders.proto": orders, "acme/money.proto": money })
      const definition = ProtoLoader.loadSync("orders.proto", { includeDirs: [folder], keepCase: true })
      const schema = yield* GrpcSchema.fromPackageDefinition(definition)
      const fields = registryOf(schema).getMessage("acme.Order")?.fields
      assert.deepStrictEqual(fields?.map(({ name }) => name), ["total", "at", "parts", "colour"])
      assert.strictEqual(fields?.[1]?.message?.typeName, "google.protobuf.Timestamp")
      assert.strictEqual(fields?.[2]?.fieldKind, "map")
    }))
})

const settles = (effect: Effect.Effect<GrpcSchema.GrpcSchema, unknown>) =>
  Effect.map(Effect.exit(effect), (exit) => {
    if (Exit.isFailure(exit)) assert.isTrue(exit.cause.reasons.every(({ _tag }) => _tag === "Fail"), String(exit.cause))
    else registryOfAll(exit.value)
  })

/** What was accepted can be used to the end. */
const registryOfAll = (schema: GrpcSchema.GrpcSchema) => {
  for (const { methods } of schema.services) {
    for (const { request, response } of methods) {
      for (const { name } of [request, response]) Result.getOrThrow(schema.jsonSchema(name))
      request.encode({})
      response.decode(new Uint8Array([8, 1]))
    }
  }
}

const pieces = [
  "{",
  "}",
  "(",
  ")",
  "[",
  "]",
  "<",
  ">",
  "=",
  ";",
  ",",
  "\"",
  "'",
  ".",
  "-",
  "/*",
  "*/",
  "//",
  "\n",
  "\0",
  "\ud800",
  "message",
  "enum",
  "service",
  "rpc",
  "returns",
  "stream",
  "oneof",
  "map<",
  "repeated",
  "optional",
  "required",
  "group",
  "extend",
  "extensions",
  "reserved",
  "to",
  "max",
  "import",
  "public",
  "weak",
  "option",
  "package",
  "syntax",
  "edition",
  "proto2",
  "proto3",
  "2023",
  "default",
  "inf",
  "nan",
  "0",
  "-1",
  "99999999999999999999",
  "0x",
  "__proto__",
  "constructor",
  "toString",
  "hasOwnProperty",
  "Order",
  ".acme.Order",
  "google.protobuf.Any",
  "int32",
  "features.field_presence"
]

describe("whatever comes", () => {
  it.effect.prop(
    "a text is understood or refused",
    {
      edits: Schema.Array(Schema.Struct({
        at: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: orders.length })),
        cut: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 20 })),
        put: Schema.Literals(pieces)
      })).check(Schema.isMaxLength(6))
    },
    ({ edits }) =>
      settles(GrpcSchema.fromSources({
        "acme/money.proto": money,
        "orders.proto": edits.reduce(
          (text, { at, cut, put }) => `${text.slice(0, at)} ${put} ${text.slice(at + cut)}`,
          orders
        )
      })),
    { arbitrary: { runs: 200 } }
  )

  it.effect.prop(
    "bytes are a descriptor set or refused",
    { bytes: Schema.Uint8Array },
    ({ bytes }) => settles(GrpcSchema.fromDescriptorSet(bytes)),
    { arbitrary: { runs: 200 } }
  )

  it.effect.prop(
    "a descriptor set with other bytes in it is understood or refused",
    { edits: Schema.Array(Schema.Tuple([Schema.Int, Schema.Int])).check(Schema.isMaxLength(8)) },
    ({ edits }) =>
      Effect.gen(function*() {
        const source = yield* GrpcSchema.fromSources({ "orders.proto": orders, "acme/money.proto": money })
        const bytes = setOf(source)
        for (const [at, byte] of edits) bytes[Math.abs(at) % bytes.length] = byte & 255
        yield* settles(GrpcSchema.fromDescriptorSet(bytes))
      }),
    { arbitrary: { runs: 200 } }
  )
})

import { fromBinary } from "@bufbuild/protobuf"
import * as Wkt from "@bufbuild/protobuf/wkt"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import { fileURLToPath } from "node:url"
import { google } from "../../../../src/internal/grpc/proto/definitions/google.ts"
import * as GrpcSchema from "../../../../src/services/GrpcSchema.ts"
import { filesOf, registryOf, saidBy } from "../../../support/grpc/descriptors.ts"
import { reasonOf } from "../../../support/reason.ts"

const kitchen = fileURLToPath(new URL("../../../support/grpc/protos/kitchen", import.meta.url))

const proto3 = (text: string) => `syntax = "proto3"; ${text}`

describe("compiled definitions", () => {
  it.effect("say what protoc says: definitions, custom options and comments", () =>
    Effect.gen(function*() {
      // protoc -I . --include_imports --include_source_info --descriptor_set_out=kitchen.binpb shop.proto, without Google's
      const compiled = fromBinary(Wkt.FileDescriptorSetSchema, Fs.readFileSync(`${kitchen}/kitchen.binpb`))
      const schema = yield* GrpcSchema.fromFile(`${kitchen}/shop.proto`)
      const own = filesOf(schema).filter(({ name }) => !name.startsWith("google/"))
      assert.deepStrictEqual(own.map(({ name }) => name), compiled.file.map(({ name }) => name))
      for (const [index, file] of own.entries()) {
        assert.deepStrictEqual(saidBy(file), saidBy(compiled.file[index]!), file.name)
      }
    }))

  it.effect("hold everything that others need to understand them, imports first", () =>
    Effect.gen(function*() {
      const schema = yield* GrpcSchema.fromFile(`${kitchen}/shop.proto`)
      const registry = registryOf(schema)
      assert.strictEqual(registry.getMessage("acme.shop.v1.Order.Inner.Deep")?.fields[0]?.message?.name, "Inner")
      assert.strictEqual(registry.getExtension("acme.shop.v1.note")?.number, 50001)
      const seen = new Set<string>()
      for (const { dependencies, name } of schema.files) {
        for (const dependency of dependencies) assert.isTrue(seen.has(dependency), `${dependency} before ${name}`)
        seen.add(name)
      }
    }))

  it.effect("bring Google's definitions along as Google has them", () =>
    Effect.gen(function*() {
      const names = [...Object.keys(google), "google/protobuf/descriptor.proto"]
      const schema = yield* GrpcSchema.fromSource(proto3(names.map((name) => `import "${name}";`).join("\n")))
      registryOf(schema)
      const theirs = Object.values(Wkt).flatMap((value) =>
        "kind" in value && value.kind === "file" ? [value.proto] : []
      )
      for (const file of filesOf(schema).filter(({ name }) => name !== "source.proto")) {
        const same = theirs.find(({ name }) => name === file.name)
        assert(same !== undefined, file.name)
        for (const message of file.messageType) {
          const theirs = same.messageType.find(({ name }) => name === message.name)
          assert.deepStrictEqual(
            message.field.map(({ jsonName, label, name, number, type, typeName }) =>
              [name, number, type, typeName, label, jsonName].join()
            ).toSorted(),
            theirs?.field.map(({ jsonName, label, name, number, type, typeName }) =>
              [name, number, type, typeName, label, jsonName].join()
            ).toSorted(),
            message.name
          )
        }
      }
    }))

  it.effect("know editions and their features", () =>
    Effect.gen(function*() {
      const schema = yield* GrpcSchema.fromFile(`${kitchen}/edition.proto`)
      const settings = registryOf(schema).getMessage("kitchen.edition.Settings")
      assert.deepStrictEqual(
        settings?.fields.map((field) => [field.name, field.presence]),
        [
          ["name", Wkt.FeatureSet_FieldPresence.IMPLICIT],
          ["size", Wkt.FeatureSet_FieldPresence.EXPLICIT],
          ["packed", Wkt.FeatureSet_FieldPresence.IMPLICIT],
          ["mode", Wkt.FeatureSet_FieldPresence.IMPLICIT],
          ["inner", Wkt.FeatureSet_FieldPresence.EXPLICIT]
        ]
      )
      const inner = settings?.field["inner"]
      assert.isTrue(inner?.fieldKind === "message" && inner.delimitedEncoding)
      assert.isFalse(registryOf(schema).getEnum("kitchen.edition.Mode")?.open)
      // and our own reading of it
      const message = Result.getOrThrow(schema.message("kitchen.edition.Settings"))
      assert.deepStrictEqual(message.fields.map(({ presence }) => presence), [false, true, false, false, true])
      assert.isTrue(Result.getOrThrow(schema.enum("kitchen.edition.Mode")).closed)
      const values = { name: "a", size: 0, packed: [1, 2], mode: "ON", inner: { name: "", packed: [], mode: "OFF" } }
      const bytes = Result.getOrThrow(message.encode(values))
      assert.strictEqual(Buffer.from(bytes).toString("hex"), "0a016110001a02010220012b2c")
      assert.deepStrictEqual(Result.getOrThrow(message.decode(bytes)), values)
    }))

  it.effect("keep the bytes of descriptors that need no mending", () =>
    Effect.gen(function*() {
      const schema = yield* GrpcSchema.fromFile(`${kitchen}/shop.proto`)
      const set = Buffer.concat(
        schema.files.toReversed().map(({ bytes }) => {
          const size: Array<number> = []
          for (let left = bytes.length; left > 0 || size.length === 0; left >>>= 7) {
            size.push((left & 127) | (left > 127 ? 128 : 0))
          }
          return Buffer.concat([Buffer.from([0x0a, ...size]), bytes])
        })
      )
      const again = yield* GrpcSchema.fromDescriptorSet(set)
      assert.deepStrictEqual(again.files, schema.files)
    }))

  it.effect("import what is used and was not imported", () =>
    Effect.gen(function*() {
      const schema = yield* GrpcSchema.fromSources({
        "a.proto": proto3(`package a; message M { b.N n = 1; google.protobuf.Empty e = 2; }`),
        "b.proto": proto3(`package b; import "google/protobuf/empty.proto"; message N { google.protobuf.Empty e = 1; }`)
      })
      const file = schema.files.find(({ name }) => name === "a.proto")
      assert.deepStrictEqual(file?.dependencies, ["b.proto", "google/protobuf/empty.proto"])
      registryOf(schema)
    }))

  it.effect("find a type that is seen before one that is nearer and not imported", () =>
    Effect.gen(function*() {
      const schema = yield* GrpcSchema.fromSources({
        "a.proto": proto3(`package acme.v1; import "far.proto"; message M { common.Money m = 1; }`),
        "far.proto": proto3(`package common; message Money { int32 far = 1; }`),
        "near.proto": proto3(`package acme.common; message Money { int32 near = 1; }`)
      })
      assert.strictEqual(registryOf(schema).getMessage("acme.v1.M")?.fields[0]?.message?.typeName, "common.Money")
    }))

  it.effect("see what an import imports publicly", () =>
    Effect.gen(function*() {
      const schema = yield* GrpcSchema.fromSources({
        "a.proto": proto3(`import "b.proto"; message A { C c = 1; }`),
        "b.proto": proto3(`import public "c.proto";`),
        "c.proto": proto3(`message C {}`)
      })
      assert.deepStrictEqual(schema.files.map(({ dependencies, name }) => [name, dependencies]), [
        ["c.proto", []],
        ["b.proto", ["c.proto"]],
        ["a.proto", ["b.proto"]]
      ])
    }))

  it.effect("do without a weak import that is missing", () =>
    Effect.gen(function*() {
      const schema = yield* GrpcSchema.fromSources({
        "a.proto": `import weak "nowhere.proto"; import weak "b.proto"; message A {}`,
        "b.proto": `import weak "nowhere.proto";`
      })
      assert.deepStrictEqual(filesOf(schema).map(({ dependency, weakDependency }) => [dependency, weakDependency]), [
        [[], []],
        [["b.proto"], [0]]
      ])
    }))

  it.effect("refuse files that import themselves, and say how", () =>
    Effect.gen(function*() {
      const reason = yield* reasonOf(GrpcSchema.fromSources({
        "a.proto": proto3(`import "b.proto";`),
        "b.proto": proto3(`import "c.proto";`),
        "c.proto": proto3(`import "b.proto";`)
      }))
      assert.deepInclude(reason, {
        _tag: "Syntax",
        file: "c.proto",
        detail: "it imports itself: b.proto -> c.proto -> b.proto"
      })
    }))

  it.effect("take any number of imports behind each other", () =>
    Effect.gen(function*() {
      const count = 3000
      const schema = yield* GrpcSchema.fromSources(Object.fromEntries(
        Array.from({ length: count }, (_, index) => [
          `${index}.proto`,
          proto3(index + 1 === count ? "" : `import "${index + 1}.proto";`)
        ])
      ))
      assert.strictEqual(schema.files[0]?.name, `${count - 1}.proto`)
    }))

  it.effect("keep defaults that no number of JavaScript holds", () =>
    Effect.gen(function*() {
      const schema = yield* GrpcSchema.fromSource(
        `message M { optional uint64 a = 1 [default = 18446744073709551615]; optional int64 b = 2 [default = -9007199254740993]; }`
      )
      assert.deepStrictEqual(
        filesOf(schema)[0]?.messageType[0]?.field.map(({ defaultValue }) => defaultValue),
        ["18446744073709551615", "-9007199254740993"]
      )
    }))

  it.effect("take texts that begin with a byte order mark", () =>
    Effect.gen(function*() {
      const schema = yield* GrpcSchema.fromSource(`\ufeff${proto3("message M {}")}`)
      assert.strictEqual(schema.files.length, 1)
    }))
})

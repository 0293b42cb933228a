import { create, createFileRegistry, fromBinary, toBinary } from "@bufbuild/protobuf"
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { definitionsOf } from "../../../../src/internal/grpc/typed/definitions.ts"
import * as Es from "../../../support/grpc/generated/shop_pb.js"

const run = promisify(execFile)

const definitions = new URL("../../../../src/internal/grpc/typed/definitions.ts", import.meta.url).href

/** A program for a machine that does not have the package. */
const without = `
  import { registerHooks } from "node:module"
  registerHooks({
    resolve: (specifier, context, next) => {
      if (specifier.startsWith("@bufbuild/")) throw new Error("Cannot find package")
      return next(specifier, context)
    }
  })
  const { definitionsOf } = await import(${JSON.stringify(definitions)})
  const Effect = await import("effect/Effect")
  const service = { kind: "service", typeName: "acme.Shop", method: {} }
  const { reason } = await Effect.runPromise(Effect.flip(definitionsOf(service)))
  console.log(reason._tag, reason.package, reason.cause.message, (await Effect.runPromise(definitionsOf({}))).length)
`

describe("protobufEs", () => {
  it.live("says which package is missing, and only to who gives such a service", () =>
    Effect.gen(function*() {
      const { stdout } = yield* Effect.promise(() =>
        run(process.execPath, ["--input-type=module", "--eval", without], { cwd: import.meta.dirname })
      )
      assert.strictEqual(stdout, "MissingPackage @bufbuild/protobuf Cannot find package 0\n")
    }), 30_000)

  it.effect("takes services of a registry that was made at run time", () =>
    Effect.gen(function*() {
      const file = create(FileDescriptorSetSchema, { file: Es.file_shop.dependencies.map(({ proto }) => proto) })
      file.file.push(Es.file_shop.proto)
      const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, toBinary(FileDescriptorSetSchema, file)))
      const service = registry.getService("acme.shop.v1.Shop")
      assert(service !== undefined)
      const made = yield* definitionsOf(service)
      const generated = yield* definitionsOf(Es.Shop)
      assert.deepEqual(made.map(({ key }) => key), generated.map(({ key }) => key))
      const item = { id: "lamp", size: { width: 1 } }
      assert.deepEqual(made[2]?.request.encode(item), generated[2]?.request.encode(item))
    }))
})

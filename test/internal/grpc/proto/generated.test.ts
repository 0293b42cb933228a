import { create, createFileRegistry, equals, fromBinary, toBinary } from "@bufbuild/protobuf"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import protobuf from "protobufjs"
import * as GrpcSchema from "../../../../src/services/GrpcSchema.ts"
import {
  descriptorOf,
  forProtobufEs,
  forProtobufJs,
  Random,
  randomDefinition,
  randomValues,
  textOf
} from "../../../support/grpc/randomProto.ts"

/** One definition as three libraries know it. */
const three = Effect.fnUntraced(function*(random: Random) {
  const definition = randomDefinition(random)
  const text = textOf(definition)
  const schema = yield* GrpcSchema.fromSource(text)
  const registry = createFileRegistry(descriptorOf(definition), () => undefined)
  const { root } = protobuf.parse(text, { keepCase: true })
  root.resolveAll()
  return {
    text,
    message: definition.messages[0]!,
    ours: yield* Effect.fromResult(schema.message("t.M0")),
    es: registry.getMessage("t.M0")!,
    js: root.lookupType("t.M0")
  }
})

const options = { arbitrary: { numRuns: 300 } }

const plain: protobuf.IConversionOptions = { longs: String, enums: Number, arrays: true, objects: true, defaults: false }

describe("messages of definitions that nobody wrote", () => {
  it.effect.prop("are the same when they have been bytes", { seed: Schema.Int }, ({ seed }) =>
    Effect.gen(function*() {
      const random = new Random(seed)
      const { message, ours, text } = yield* three(random)
      for (let count = 0; count < 3; count++) {
        const values = randomValues(random, message)
        const bytes = Result.getOrThrow(ours.encode(values))
        assert.deepStrictEqual(Result.getOrThrow(ours.decode(bytes)), values, text)
      }
    }), options)

  it.effect.prop("mean the same to protobuf-es, both ways", { seed: Schema.Int }, ({ seed }) =>
    Effect.gen(function*() {
      const random = new Random(seed)
      const { es, message, ours, text } = yield* three(random)
      const values = randomValues(random, message)
      const theirs = create(es, forProtobufEs(message, values))
      const read = fromBinary(es, Result.getOrThrow(ours.encode(values)))
      assert.isTrue(equals(es, read, theirs), text)
      assert.deepStrictEqual(Result.getOrThrow(ours.decode(toBinary(es, theirs))), values, text)
    }), options)

  it.effect.prop("mean the same to protobufjs, both ways", { seed: Schema.Int }, ({ seed }) =>
    Effect.gen(function*() {
      const random = new Random(seed)
      const { js, message, ours, text } = yield* three(random)
      const values = randomValues(random, message)
      const theirs = js.fromObject(forProtobufJs(message, values))
      const read = js.decode(Result.getOrThrow(ours.encode(values)))
      assert.deepStrictEqual(js.toObject(read, plain), js.toObject(theirs, plain), text)
      assert.deepStrictEqual(Result.getOrThrow(ours.decode(js.encode(theirs).finish())), values, text)
    }), options)
})

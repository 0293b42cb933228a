import { create, createFileRegistry, equals, fromBinary, toBinary } from "@bufbuild/protobuf"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { isDeepStrictEqual } from "node:util"
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

const options = { arbitrary: { runs: 100 }, timeout: 60_000 }

const plain: protobuf.IConversionOptions = {
  longs: String,
  enums: Number,
  arrays: true,
  objects: true,
  defaults: false
}

const attempt = <A>(read: () => A) => Result.try({ try: read, catch: (cause) => cause })

/** Bytes that are cut off, changed in places, or have something between them. */
const breakUp = (random: Random, bytes: Uint8Array): Buffer => {
  const at = random.below(bytes.length + 1)
  const noise = Buffer.from(Array.from({ length: random.below(4) }, () => random.below(256)))
  const cut = Buffer.concat([
    bytes.subarray(0, at),
    noise,
    bytes.subarray(random.pick([at, at + noise.length, at + random.below(20), bytes.length]))
  ])
  for (let count = random.below(3); count > 0 && cut.length > 0; count--) {
    cut[random.below(cut.length)] = random.pick([0, 0x7F, 0x80, 0xFF, random.below(256)])
  }
  return cut
}

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

  it.effect.prop(
    "are refused or not, as elsewhere, when their bytes are broken",
    { seed: Schema.Int },
    ({ seed }) =>
      Effect.gen(function*() {
        const random = new Random(seed)
        const { es, js, message, ours, text } = yield* three(random)
        const bytes = Result.getOrThrow(ours.encode(randomValues(random, message)))
        for (let count = 0; count < 20; count++) {
          const broken = breakUp(random, bytes)
          const read = ours.decode(broken)
          const [byEs, byJs] = [attempt(() => fromBinary(es, broken)), attempt(() => js.decode(broken))]
          // where the two do not agree, the specification leaves room, or one of them does not keep to it
          if (Result.isSuccess(byEs) === Result.isSuccess(byJs)) {
            assert.strictEqual(Result.isSuccess(read), Result.isSuccess(byJs), `${text}\n${broken.toString("hex")}`)
          }
          if (Result.isFailure(read)) assert.strictEqual(read.failure.reason._tag, "WrongType")
          if (Result.isFailure(read) || Result.isFailure(byJs) || Result.isFailure(byEs)) continue
          // protobufjs takes a key that is 0 and one that is missing for two; protobuf-es reads over the end of a message
          const asJs = Result.getOrThrow(ours.decode(js.encode(byJs.success).finish()))
          const asEs = Result.getOrThrow(ours.decode(toBinary(es, byEs.success)))
          const same = isDeepStrictEqual(read.success, asEs) ? asEs : asJs
          assert.deepStrictEqual(read.success, same, `${text}\n${broken.toString("hex")}`)
        }
      }),
    options
  )
})

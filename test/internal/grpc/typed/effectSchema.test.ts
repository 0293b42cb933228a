import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { definitionsOf } from "../../../../src/internal/grpc/typed/definitions.ts"
import type { MessageSchema } from "../../../../src/internal/grpc/typed/effectSchema.ts"
import * as GrpcService from "../../../../src/services/GrpcService.ts"
import { Item, loadShop, Shop } from "../../../support/grpc/shop.ts"
import { reasonOf } from "../../../support/reason.ts"

const Id = Schema.Struct({ id: Schema.String })

const getItem = (payload: MessageSchema, success: MessageSchema = Item) =>
  GrpcService.make("acme.shop.v1.Shop", { GetItem: GrpcService.unary({ payload, success }) })

const lamp = {
  id: "lamp",
  priceCents: 1n,
  colour: "COLOUR_RED",
  picture: new Uint8Array(),
  tags: [],
  stock: {}
}

/** The codecs of the one method of a service. */
const only = (service: GrpcService.GrpcService) =>
  Effect.gen(function*() {
    const [method] = yield* definitionsOf(service, yield* loadShop)
    assert(method !== undefined)
    return method
  })

describe("effectSchema", () => {
  it.effect("names a method that the definition does not have, and those that there are", () =>
    Effect.gen(function*() {
      const service = GrpcService.make("acme.shop.v1.Shop", { Get: GrpcService.unary({ payload: Id, success: Item }) })
      const { _tag, known, method } = yield* reasonOf(definitionsOf(service, yield* loadShop))
      assert.strictEqual(_tag, "UnknownMethod")
      assert.strictEqual(method, "acme.shop.v1.Shop/Get")
      assert.deepEqual(known, ["GetItem", "ListItems", "Buy", "Exchange"].map((name) => `acme.shop.v1.Shop/${name}`))
    }))

  it.effect("says so when nothing was loaded", () =>
    Effect.gen(function*() {
      const { _tag, known } = yield* reasonOf(definitionsOf(Shop))
      assert.strictEqual(_tag, "UnknownMethod")
      assert.deepEqual(known, [])
    }))

  it.effect("says that a method is of another kind", () =>
    Effect.gen(function*() {
      const service = GrpcService.make("acme.shop.v1.Shop", { Buy: GrpcService.bidi({ payload: Item, success: Item }) })
      const { _tag, calledAs, kind } = yield* reasonOf(definitionsOf(service, yield* loadShop))
      assert.deepEqual([_tag, kind, calledAs], ["WrongKind", "clientStream", "bidi"])
    }))

  it.effect("says where a request does not fit its schema, keeps all that was found, and tells no values", () =>
    Effect.gen(function*() {
      const { request } = yield* only(GrpcService.make("acme.shop.v1.Shop", {
        Buy: GrpcService.clientStream({ payload: Item, success: Schema.Struct({ items: Schema.Int }) })
      }))
      const refused = request.encode({ ...lamp, priceCents: -123n })
      assert(Result.isFailure(refused) && refused.failure.reason._tag === "InvalidMessage")
      assert.strictEqual(refused.failure.reason.path, "priceCents")
      assert.include(refused.failure.message, "a price that is not negative")
      assert.notInclude(refused.failure.message, "123")
      assert.isTrue(Schema.isSchemaError(refused.failure.reason.cause))
      const nested = request.encode({ ...lamp, tags: ["a", 5] })
      assert(Result.isFailure(nested) && nested.failure.reason._tag === "InvalidMessage")
      assert.strictEqual(nested.failure.reason.path, "tags[1]")
    }))

  it.effect("says where a response does not fit its schema", () =>
    Effect.gen(function*() {
      const loaded = yield* loadShop
      const { response } = yield* only(getItem(Id))
      const reference = yield* Effect.fromResult(loaded.method("acme.shop.v1.Shop/GetItem"))
      const bytes = yield* Effect.fromResult(reference.response.encode({ note: "not a URL" }))
      const refused = response.decode(bytes)
      assert(Result.isFailure(refused) && refused.failure.reason._tag === "InvalidMessage")
      assert.strictEqual(refused.failure.reason.part, "response")
      assert.strictEqual(refused.failure.reason.path, "note")
    }))

  it.effect("says of the definition's own complaint what it says of a call by name", () =>
    Effect.gen(function*() {
      const { request } = yield* only(getItem(Schema.Struct({ id: Schema.String, colour: Schema.String })))
      const refused = request.encode({ id: "1", colour: "red" })
      assert(Result.isFailure(refused) && refused.failure.reason._tag === "UnknownField")
      assert.strictEqual(refused.failure.reason.path, "colour")
    }))

  it.effect("turns what a transformation throws, or waits for, into an error", () =>
    Effect.gen(function*() {
      const bug = new Error("a bug")
      const transformed = (encode: (id: string) => Effect.Effect<string>) =>
        Schema.Struct({
          id: Schema.String.pipe(
            Schema.decodeTo(
              Schema.String,
              SchemaTransformation.transformEffect({ decode: (id: string) => Effect.succeed(id), encode })
            )
          )
        })
      for (const encode of [() => Effect.die(bug), () => Effect.never]) {
        const { request } = yield* only(getItem(transformed(encode)))
        const refused = request.encode({ id: "1" })
        assert(Result.isFailure(refused) && refused.failure.reason._tag === "InvalidMessage")
      }
    }))
})

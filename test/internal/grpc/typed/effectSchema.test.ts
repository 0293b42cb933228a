import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { definitionsOf } from "../../../../src/internal/grpc/typed/definitions.ts"
import type { MessageSchema } from "../../../../src/internal/grpc/typed/effectSchema.ts"
import * as GrpcSchema from "../../../../src/services/GrpcSchema.ts"
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
      const { response } = yield* only(getItem(Id, Schema.Struct({ colour: Schema.String })))
      const refused = response.encode({ colour: "red" })
      assert(Result.isFailure(refused) && refused.failure.reason._tag === "WrongType")
      assert.strictEqual(refused.failure.reason.path, "colour")
    }))

  it.effect("names a field of a schema that the message does not have, at any depth, before anything is called", () =>
    Effect.gen(function*() {
      const loaded = yield* loadShop
      const Size = Schema.Struct({ width: Schema.Finite, heigth: Schema.optionalKey(Schema.Finite) })
      interface Box {
        readonly size: typeof Size.Type
      }
      const wrong: ReadonlyArray<readonly [MessageSchema, string]> = [
        [Schema.Struct({ Id: Schema.String }), "Id"],
        [Schema.Struct({ size: Size }), "size.heigth"],
        [Schema.Struct({ parcel: Schema.optionalKey(Size) }), "parcel.heigth"],
        // the same schema for two messages
        [Schema.Struct({ size: Schema.Struct({}), madeAt: Id, parcel: Id }), "parcel.id"],
        [Schema.Union([Schema.Struct({ id: Schema.String }), Schema.Struct({ size: Size })]), "size.heigth"],
        [Schema.suspend((): Schema.Codec<Box> => Schema.Struct({ size: Size })), "size.heigth"],
        [Schema.Struct({ priceInCents: Schema.BigInt }).pipe(Schema.encodeKeys({ priceInCents: "price" })), "price"],
        // the name of the .proto goes in and does not come out
        [Schema.Struct({ price_cents: Schema.BigInt }), "price_cents"]
      ]
      for (const [success, path] of wrong) {
        const reason = yield* reasonOf(definitionsOf(getItem(Id, success), loaded))
        assert.strictEqual(reason["_tag"], "InvalidMessage")
        assert.strictEqual(reason["part"], "response")
        assert.strictEqual(reason["path"], path)
      }
      const error = yield* Effect.flip(definitionsOf(getItem(Schema.Struct({ ids: Schema.String })), loaded))
      assert.include(error.message, "acme.shop.v1.GetItemRequest has no such field; there are: id")
    }))

  it.effect("finds a strange field in lists and maps of messages, and ends in messages that hold themselves", () =>
    Effect.gen(function*() {
      const loaded = yield* GrpcSchema.fromSource(`
        syntax = "proto3";
        import "google/protobuf/timestamp.proto";
        service Trees { rpc Get(Tree) returns (Tree); }
        message Tree {
          string leaf = 1;
          repeated Tree list = 2;
          map<string, Tree> by_name = 3;
          google.protobuf.Timestamp planted_at = 4;
        }
      `)
      interface Tree {
        readonly leaf: string
        readonly list: ReadonlyArray<Tree>
      }
      const Tree: Schema.Codec<Tree> = Schema.Struct({
        leaf: Schema.String,
        list: Schema.Array(Schema.suspend((): Schema.Codec<Tree> => Tree))
      })
      const trees = (success: MessageSchema) =>
        definitionsOf(
          GrpcService.make("Trees", { Get: GrpcService.unary({ payload: Tree, success }) }),
          loaded
        )
      assert.strictEqual((yield* trees(Schema.Struct({ plantedAt: GrpcSchema.Timestamp }))).length, 1)
      const Leaves = Schema.Struct({ leaves: Schema.String })
      for (
        const [success, path] of [
          [Schema.Struct({ list: Schema.Array(Leaves) }), "list.leaves"],
          [Schema.Struct({ list: Schema.optionalKey(Schema.NonEmptyArray(Leaves)) }), "list.leaves"],
          [Schema.Struct({ byName: Schema.Record(Schema.String, Leaves) }), "byName.leaves"],
          [Schema.Struct({ byName: Schema.optional(Schema.Record(Schema.String, Leaves)) }), "byName.leaves"]
        ] as const
      ) {
        assert.strictEqual((yield* reasonOf(trees(success)))["path"], path)
      }
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

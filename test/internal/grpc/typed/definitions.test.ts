import { create } from "@bufbuild/protobuf"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { MethodKind } from "../../../../src/internal/grpc/definition.ts"
import type { GrpcSchema } from "../../../../src/internal/grpc/proto/schema.ts"
import { definitionsOf, type TypedService } from "../../../../src/internal/grpc/typed/definitions.ts"
import * as GrpcService from "../../../../src/services/GrpcService.ts"
import { ShopService } from "../../../support/grpc/generated/shop.ts"
import * as Es from "../../../support/grpc/generated/shop_pb.js"
import { loadShop, Shop } from "../../../support/grpc/shop.ts"

const sources: ReadonlyArray<readonly [string, TypedService, (key: string) => string]> = [
  ["ts-proto", ShopService, (name) => name.charAt(0).toLowerCase() + name.slice(1)],
  ["protobuf-es", Es.Shop, (name) => name.charAt(0).toLowerCase() + name.slice(1)],
  ["Effect schemas", Shop, (name) => name]
]

const Text = Schema.String.check(Schema.makeFilter((text) => text.isWellFormed()))

// what is not among these two, ts-proto loses
const Key = Text.check(Schema.makeFilter((text) => text !== "__proto__"))
const Real = Schema.Finite.check(Schema.makeFilter((real) => !Object.is(real, -0)))

/** Items of all kinds, as far as every source tells them apart. */
const Random = Schema.Struct({
  id: Text,
  priceCents: Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: -(2n ** 63n), maximum: 2n ** 63n - 1n })),
  colour: Schema.Literals(["COLOUR_UNSPECIFIED", "COLOUR_RED", "COLOUR_BLUE"]),
  picture: Schema.Uint8Array,
  tags: Schema.Array(Text),
  stock: Schema.Record(Key, Schema.Finite.check(Schema.isInt32())),
  note: Schema.optionalKey(Text),
  size: Schema.optionalKey(Schema.Struct({ width: Real, height: Real })),
  courier: Schema.optionalKey(Text)
})

/** The method that a source calls by this name, with what it says of it. */
const methodOf = Effect.fnUntraced(function*(service: TypedService, name: string, loaded?: GrpcSchema) {
  const method = (yield* definitionsOf(service, loaded)).find((method) => method.name === name)
  assert(method !== undefined)
  return method
})

describe("definitionsOf", () => {
  for (const [title, service, key] of sources) {
    it.effect(`finds every method of ${title} with its names and its kind`, () =>
      Effect.gen(function*() {
        const methods = yield* definitionsOf(service, yield* loadShop)
        const kinds: Record<string, MethodKind> = {
          GetItem: "unary",
          ListItems: "serverStream",
          Buy: "clientStream",
          Exchange: "bidi"
        }
        assert.deepEqual(
          methods.map(({ key, kind, name, path, service }) => ({ key, kind, name, path, service })),
          Object.entries(kinds).map(([name, kind]) => ({
            key: key(name),
            kind,
            name,
            path: `acme.shop.v1.Shop/${name}`,
            service: "acme.shop.v1.Shop"
          }))
        )
      }))

    it.effect(`reads with ${title} what the loaded definition writes, and the other way round`, () =>
      Effect.gen(function*() {
        const loaded = yield* loadShop
        const method = yield* methodOf(service, "Buy", loaded)
        const reference = yield* Effect.fromResult(loaded.method(method.path))
        const sent = yield* Effect.fromResult(reference.request.encode({
          id: "lamp",
          priceCents: 2n ** 60n,
          colour: "COLOUR_BLUE",
          picture: new Uint8Array([1, 2, 3]),
          tags: ["a", "b"],
          stock: { berlin: 4 },
          note: "https://shop.test/lamp",
          size: { width: 1.5, height: 2 }
        }))
        const value = yield* Effect.fromResult(method.request.decode(sent))
        const again = yield* Effect.fromResult(method.request.encode(value))
        assert.deepEqual(
          yield* Effect.fromResult(reference.request.decode(again)),
          yield* Effect.fromResult(reference.request.decode(sent))
        )
      }))

    it.effect(`gives values of ${title} that share no memory with the bytes`, () =>
      Effect.gen(function*() {
        const loaded = yield* loadShop
        const method = yield* methodOf(service, "Exchange", loaded)
        const reference = yield* Effect.fromResult(loaded.method(method.path))
        const bytes = yield* Effect.fromResult(
          reference.response.encode({ id: "x", picture: new Uint8Array(64).fill(7) })
        )
        const value = yield* Effect.fromResult(method.response.decode(bytes))
        bytes.fill(0)
        assert(typeof value === "object" && value !== null && "picture" in value)
        assert(value.picture instanceof Uint8Array)
        assert.deepEqual([...new Set(value.picture)], [7])
      }))

    it.effect(`says with ${title} which message of which method makes no sense, in either direction`, () =>
      Effect.gen(function*() {
        const method = yield* methodOf(service, "Buy", yield* loadShop)
        const refused = method.request.encode({ id: "x", priceCents: "much" })
        assert(Result.isFailure(refused))
        assert(refused.failure.reason._tag === "InvalidMessage")
        assert.strictEqual(refused.failure.reason.method, "acme.shop.v1.Shop/Buy")
        assert.strictEqual(refused.failure.reason.part, "request")
        assert.include(refused.failure.message, "acme.shop.v1.Shop/Buy")
        const broken = method.response.decode(new Uint8Array([0x0a, 0xff]))
        assert(Result.isFailure(broken))
        assert.strictEqual(broken.failure._tag, "GrpcSchemaError")
      }))
  }

  it.effect("takes messages of protobuf-es as they are, and parts of them", () =>
    Effect.gen(function*() {
      const { request } = yield* methodOf(Es.Shop, "Buy")
      const parcel = { width: 1, height: 2 }
      const whole = create(Es.ItemSchema, { id: "x", delivery: { case: "parcel", value: parcel } })
      const part = { id: "x", delivery: { case: "parcel", value: parcel } }
      assert.deepEqual(request.encode(whole), request.encode(part))
      assert.deepEqual(
        yield* Effect.fromResult(Result.flatMap(request.encode(part), request.decode)),
        whole
      )
    }))

  it.effect.prop(
    "reads with every source what any other writes",
    { item: Random },
    ({ item }) =>
      Effect.gen(function*() {
        const loaded = yield* loadShop
        const service = GrpcService.make("acme.shop.v1.Shop", {
          Exchange: GrpcService.bidi({ payload: Random, success: Random })
        })
        const schema = yield* methodOf(service, "Exchange", loaded)
        let bytes = yield* Effect.fromResult(schema.request.encode(item))
        for (const source of [ShopService, Es.Shop]) {
          const { request, response } = yield* methodOf(source, "Exchange")
          const value = yield* Effect.fromResult(request.decode(bytes))
          bytes = yield* Effect.fromResult(response.encode(value))
        }
        assert.deepEqual(yield* Effect.fromResult(schema.response.decode(bytes)), item)
      })
  )
})

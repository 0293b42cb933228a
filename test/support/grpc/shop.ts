/** The shop of `shop.proto`, loaded and described with schemas. */
import * as Schema from "effect/Schema"
import { fileURLToPath } from "node:url"
import * as GrpcSchema from "../../../src/services/GrpcSchema.ts"
import * as GrpcService from "../../../src/services/GrpcService.ts"

export const loadShop = GrpcSchema.fromFile(fileURLToPath(new URL("shop.proto", import.meta.url)))

export const Item = Schema.Struct({
  id: Schema.String,
  priceCents: Schema.BigInt.check(
    Schema.makeFilter((price) => price >= 0n, { expected: "a price that is not negative" })
  ),
  colour: Schema.Literals(["COLOUR_UNSPECIFIED", "COLOUR_RED", "COLOUR_BLUE"]),
  picture: Schema.Uint8Array,
  tags: Schema.Array(Schema.String),
  stock: Schema.Record(Schema.String, Schema.Int),
  note: Schema.optionalKey(Schema.URLFromString),
  size: Schema.optionalKey(Schema.Struct({ width: Schema.Finite, height: Schema.Finite }))
})

export const Shop = GrpcService.make("acme.shop.v1.Shop", {
  GetItem: GrpcService.unary({ payload: Schema.Struct({ id: Schema.String }), success: Item }),
  ListItems: GrpcService.serverStream({
    payload: Schema.Struct({ count: Schema.Int, failAfter: Schema.optionalKey(Schema.Int) }),
    success: Item
  }),
  Buy: GrpcService.clientStream({
    payload: Item,
    success: Schema.Struct({ items: Schema.Int, totalCents: Schema.BigInt })
  }),
  Exchange: GrpcService.bidi({ payload: Item, success: Item })
})

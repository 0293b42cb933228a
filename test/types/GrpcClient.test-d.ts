import type * as ProtobufEs from "@bufbuild/protobuf"
import type * as Grpc from "@grpc/grpc-js"
import type * as ProtoLoader from "@grpc/proto-loader"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { describe, expectTypeOf, it } from "vitest"
import type { Metadata } from "../../src/errors/GrpcError.ts"
import type { GrpcSchemaError } from "../../src/errors/GrpcSchemaError.ts"
import type { CallError } from "../../src/internal/grpc/client/callOptions.ts"
import type { ProtobufEsInit, ProtobufEsShape } from "../../src/internal/grpc/typed/protobufEs.ts"
import type { GrpcChannel } from "../../src/services/GrpcChannel.ts"
import type {
  Bidi,
  Client,
  ClientStream,
  Exchange,
  ServerStream,
  StreamExchange,
  TypedService,
  Unary
} from "../../src/services/GrpcClient.ts"
import * as GrpcService from "../../src/services/GrpcService.ts"
import type * as TsProto from "../support/grpc/generated/shop.ts"
import type * as Es from "../support/grpc/generated/shop_pb.js"

declare const channel: GrpcChannel

const ItemSchema = Schema.Struct({ id: Schema.String, madeAt: Schema.DateFromString })
const ShopSchema = GrpcService.make("acme.shop.v1.Shop", {
  GetItem: GrpcService.unary({ payload: Schema.Struct({ id: Schema.String }), success: ItemSchema }),
  ListItems: GrpcService.serverStream({ payload: Schema.Struct({ count: Schema.Int }), success: ItemSchema }),
  Buy: GrpcService.clientStream({ payload: ItemSchema, success: Schema.Struct({ items: Schema.Int }) }),
  Exchange: GrpcService.bidi({ payload: ItemSchema, success: ItemSchema })
})

declare const tsProto: Client<typeof TsProto.ShopService>
declare const es: Client<typeof Es.Shop>
declare const message: typeof Es.ItemSchema
declare const needy: Schema.Codec<{ readonly id: string }, { readonly id: string }, Ledger>
declare const schema: Client<typeof ShopSchema>

interface Ledger {
  readonly _: unique symbol
}

describe("GrpcClient", () => {
  it("has the types of code that ts-proto generated for grpc-js", () => {
    expectTypeOf(tsProto.getItem).toEqualTypeOf<Unary<TsProto.GetItemRequest, TsProto.Item>>()
    expectTypeOf(tsProto.listItems).toEqualTypeOf<ServerStream<TsProto.ListItemsRequest, TsProto.Item>>()
    expectTypeOf(tsProto.buy).toEqualTypeOf<ClientStream<TsProto.Item, TsProto.Receipt>>()
    expectTypeOf(tsProto.exchange).toEqualTypeOf<Bidi<TsProto.Item, TsProto.Item>>()
    expectTypeOf<keyof typeof tsProto>().toEqualTypeOf<"getItem" | "listItems" | "buy" | "exchange">()
  })

  it("has the types of a service that protobuf-es generated: fields of requests may be left out", () => {
    expectTypeOf(es.getItem).toEqualTypeOf<
      Unary<ProtobufEs.MessageInitShape<typeof Es.GetItemRequestSchema>, Es.Item>
    >()
    expectTypeOf(es.listItems).toEqualTypeOf<
      ServerStream<ProtobufEs.MessageInitShape<typeof Es.ListItemsRequestSchema>, Es.Item>
    >()
    expectTypeOf(es.buy).toEqualTypeOf<ClientStream<ProtobufEs.MessageInitShape<typeof Es.ItemSchema>, Es.Receipt>>()
    expectTypeOf(es.exchange).toEqualTypeOf<Bidi<ProtobufEs.MessageInitShape<typeof Es.ItemSchema>, Es.Item>>()
  })

  it("takes and gives the messages that protobuf-es itself does, without its types", () => {
    expectTypeOf<ProtobufEsInit<typeof Es.ItemSchema>>().toEqualTypeOf<
      ProtobufEs.MessageInitShape<typeof Es.ItemSchema>
    >()
    expectTypeOf<ProtobufEsShape<typeof Es.ItemSchema>>().toEqualTypeOf<ProtobufEs.MessageShape<typeof Es.ItemSchema>>()
    expectTypeOf<ProtobufEs.DescService>().toExtend<TypedService>()
    expectTypeOf<ProtobufEsInit<ProtobufEs.DescMessage>>().toEqualTypeOf<
      ProtobufEs.MessageInitShape<ProtobufEs.DescMessage>
    >()
  })

  it("has the types of Effect schemas", () => {
    type Item = { readonly id: string; readonly madeAt: Date }
    expectTypeOf(schema.GetItem).toEqualTypeOf<Unary<{ readonly id: string }, Item>>()
    expectTypeOf(schema.ListItems).toEqualTypeOf<ServerStream<{ readonly count: number }, Item>>()
    expectTypeOf(schema.Buy).toEqualTypeOf<ClientStream<Item, { readonly items: number }>>()
    expectTypeOf(schema.Exchange).toEqualTypeOf<Bidi<Item, Item>>()
  })

  it("refuses what no method takes", () => {
    // @ts-expect-error there is no such method
    expectTypeOf(tsProto.getItems)
    // @ts-expect-error there is no such method
    expectTypeOf(es.getItems)
    // @ts-expect-error there is no such method
    expectTypeOf(schema.GetItems)
    // @ts-expect-error there is no such field
    expectTypeOf(() => tsProto.getItem({ id: "1", colour: 1 }))
    // @ts-expect-error there is no such field
    expectTypeOf(() => es.getItem({ id: "1", colour: 1 }))
    // @ts-expect-error there is no such field
    expectTypeOf(() => schema.GetItem({ id: "1", colour: 1 }))
    // @ts-expect-error a field of another type
    expectTypeOf(() => tsProto.getItem({ id: 1 }))
    // @ts-expect-error a field of another type
    expectTypeOf(() => es.exchange(Stream.make({ priceCents: "1" })))
    // @ts-expect-error a field of another type
    expectTypeOf(() => schema.Exchange(Stream.make({ id: "1", madeAt: "today" })))
    // @ts-expect-error a missing field
    expectTypeOf(() => schema.GetItem({}))
    // @ts-expect-error one request where a stream is taken
    expectTypeOf(() => es.buy({ id: "1" }))
    // @ts-expect-error there is no such option
    expectTypeOf(() => es.getItem({ id: "1" }, { deadline: 1 }))
  })

  it("gives Effects and Streams with the errors of calls", () => {
    expectTypeOf(tsProto.getItem({ id: "1" })).toEqualTypeOf<Effect.Effect<TsProto.Item, CallError>>()
    expectTypeOf(es.listItems({})).toEqualTypeOf<Stream.Stream<Es.Item, CallError>>()
    expectTypeOf(es.getItem.exchange({ id: "1" })).toEqualTypeOf<Effect.Effect<Exchange<Es.Item>, CallError>>()
    expectTypeOf(es.listItems.exchange({})).toEqualTypeOf<
      Effect.Effect<StreamExchange<Es.Item>, CallError, Scope.Scope>
    >()
    expectTypeOf<StreamExchange<Es.Item>["headers"]>().toEqualTypeOf<Effect.Effect<Metadata, CallError>>()
  })

  it("carries the errors and the needs of the stream of requests", () => {
    const requests: Stream.Stream<{ id: string }, "boom", Ledger> = Stream.never
    expectTypeOf(es.buy(requests)).toEqualTypeOf<Effect.Effect<Es.Receipt, CallError | "boom", Ledger>>()
    expectTypeOf(es.exchange(requests)).toEqualTypeOf<Stream.Stream<Es.Item, CallError | "boom", Ledger>>()
    expectTypeOf(es.buy.exchange(requests)).toEqualTypeOf<
      Effect.Effect<Exchange<Es.Receipt>, CallError | "boom", Ledger>
    >()
    expectTypeOf(es.exchange.exchange(requests)).toEqualTypeOf<
      Effect.Effect<StreamExchange<Es.Item, "boom">, CallError, Ledger | Scope.Scope>
    >()
  })

  it("says that a method is one of four when the flags of its definition are not literal", () => {
    type Any<I, O> = Unary<I, O> | ServerStream<I, O> | ClientStream<I, O> | Bidi<I, O>
    // as proto-loader-gen-types does
    interface Definition extends Grpc.ServiceDefinition {
      GetItem: ProtoLoader.MethodDefinition<TsProto.GetItemRequest, TsProto.Item>
    }
    expectTypeOf<Client<Definition>>().toEqualTypeOf<
      { readonly GetItem: Any<TsProto.GetItemRequest, TsProto.Item> }
    >()
    expectTypeOf<Client<Grpc.ServiceDefinition>[string]>().toEqualTypeOf<
      // oxlint-disable-next-line typescript/no-explicit-any
      Any<any, any>
    >()
  })

  it("takes the definitions of grpc-tools, whose names stand beside an index signature", () => {
    interface GetItem extends Grpc.MethodDefinition<TsProto.GetItemRequest, TsProto.Item> {
      requestStream: false
      responseStream: false
    }
    interface IShopService extends Grpc.ServiceDefinition {
      getItem: GetItem
    }
    expectTypeOf<Client<IShopService>>().toEqualTypeOf<
      { readonly getItem: Unary<TsProto.GetItemRequest, TsProto.Item> }
    >()
  })

  it("is made of a service, if that and the schema of the channel agree", () => {
    expectTypeOf(channel.client(ShopSchema)).toEqualTypeOf<Effect.Effect<Client<typeof ShopSchema>, GrpcSchemaError>>()
  })

  it("takes services and nothing else", () => {
    // @ts-expect-error a class of protobuf-es, not a service
    expectTypeOf(() => channel.client(message))
    // @ts-expect-error not an object of methods
    expectTypeOf(() => channel.client({ getItem: 1 }))
    // @ts-expect-error schemas that encode to something else than an object
    expectTypeOf(() => GrpcService.unary({ payload: Schema.String, success: ItemSchema }))
  })

  it("does not take schemas that need services", () => {
    // @ts-expect-error a schema that needs a service to decode
    expectTypeOf(() => GrpcService.unary({ payload: needy, success: ItemSchema }))
  })
})

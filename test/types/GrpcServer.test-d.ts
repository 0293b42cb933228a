import type * as ProtobufEs from "@bufbuild/protobuf"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { describe, expectTypeOf, it } from "vitest"
import * as GrpcError from "../../src/errors/GrpcError.ts"
import type { GrpcSchemaError } from "../../src/errors/GrpcSchemaError.ts"
import type { TcpError } from "../../src/errors/TcpError.ts"
import type { TlsConfigError } from "../../src/errors/TlsConfigError.ts"
import type { GrpcSchema, Values } from "../../src/services/GrpcSchema.ts"
import * as GrpcServer from "../../src/services/GrpcServer.ts"
import * as GrpcService from "../../src/services/GrpcService.ts"
import type { Listener } from "../../src/services/Listener.ts"
import type * as TsProto from "../support/grpc/generated/shop.ts"
import type * as Es from "../support/grpc/generated/shop_pb.js"

declare const loaded: GrpcSchema
declare const tsProto: typeof TsProto.ShopService
declare const es: typeof Es.Shop

class Ledger extends Context.Service<Ledger, string>()("test/Ledger") {}
class Broke extends Data.TaggedError("Broke")<{}> {}

const ItemSchema = Schema.Struct({ id: Schema.String, madeAt: Schema.DateFromString })
const Shop = GrpcService.make("acme.shop.v1.Shop", {
  GetItem: GrpcService.unary({ payload: Schema.Struct({ id: Schema.String }), success: ItemSchema }),
  Exchange: GrpcService.bidi({ payload: ItemSchema, success: ItemSchema })
})

const notFound = Effect.fail(new GrpcError.NotFound({ message: "no" }))

describe("GrpcServer", () => {
  it("has the handlers of code that was generated for grpc-js", () => {
    type Handlers = GrpcServer.Handlers<typeof TsProto.ShopService>
    expectTypeOf<Handlers["getItem"]>().toEqualTypeOf<
      GrpcServer.UnaryHandler<TsProto.GetItemRequest, TsProto.Item>
    >()
    expectTypeOf<Handlers["listItems"]>().toEqualTypeOf<
      GrpcServer.ServerStreamHandler<TsProto.ListItemsRequest, TsProto.Item>
    >()
    expectTypeOf<Handlers["buy"]>().toEqualTypeOf<GrpcServer.ClientStreamHandler<TsProto.Item, TsProto.Receipt>>()
    expectTypeOf<Handlers["exchange"]>().toEqualTypeOf<GrpcServer.BidiHandler<TsProto.Item, TsProto.Item>>()
    expectTypeOf<keyof Handlers>().toEqualTypeOf<"getItem" | "listItems" | "buy" | "exchange">()
  })

  it("gives handlers of protobuf-es messages, and takes what makes one", () => {
    GrpcServer.service(es, {
      getItem: (request, call) => {
        expectTypeOf(request).toEqualTypeOf<Es.GetItemRequest>()
        expectTypeOf(call).toEqualTypeOf<GrpcServer.ServerCall>()
        return Effect.succeed({ id: request.id })
      },
      listItems: ({ count }) => Stream.make({ priceCents: BigInt(count) }),
      buy: (items) => {
        expectTypeOf(items).toEqualTypeOf<Stream.Stream<Es.Item>>()
        return Effect.succeed({})
      },
      exchange: (items) => items
    })
    expectTypeOf<Effect.Success<ReturnType<GrpcServer.Handlers<typeof Es.Shop>["getItem"]>>>().toEqualTypeOf<
      ProtobufEs.MessageInitShape<typeof Es.ItemSchema>
    >()
  })

  it("gives handlers of Effect schemas what they decode to", () => {
    const service = GrpcServer.service(loaded, Shop, {
      GetItem: ({ id }) => id === "" ? notFound : Effect.succeed({ id, madeAt: new Date() }),
      Exchange: (items) => {
        expectTypeOf(items).toEqualTypeOf<Stream.Stream<{ readonly id: string; readonly madeAt: Date }>>()
        return items
      }
    })
    expectTypeOf(service).toEqualTypeOf<GrpcServer.Service>()
  })

  it("knows what handlers need, and which of their errors are no status", () => {
    const service = GrpcServer.service(loaded, Shop, {
      GetItem: () =>
        Effect.gen(function*() {
          yield* Effect.addFinalizer(() => Effect.void)
          const id = yield* Ledger
          if (id === "") return yield* notFound
          if (id === "broke") return yield* new Broke()
          return { id, madeAt: new Date() }
        }),
      Exchange: () => Stream.fail("no" as const)
    })
    expectTypeOf(service).toEqualTypeOf<GrpcServer.Service<Broke | "no", Ledger>>()
    const layer = GrpcServer.layer({
      services: [service, GrpcServer.partial(es, {})],
      onError: (error) => {
        expectTypeOf(error).toEqualTypeOf<Broke | "no">()
        return undefined
      }
    })
    expectTypeOf(layer).toEqualTypeOf<
      Layer.Layer<GrpcServer.GrpcServer, TcpError | TlsConfigError | GrpcSchemaError, Listener | Ledger>
    >()
  })

  it("gives handlers by name plain objects", () => {
    const service = GrpcServer.service(loaded, "acme.Orders", {
      Get: GrpcServer.unary((request) => {
        expectTypeOf(request).toEqualTypeOf<Values>()
        return Effect.as(Ledger, {})
      }),
      Put: GrpcServer.bidi((requests) => {
        expectTypeOf(requests).toEqualTypeOf<Stream.Stream<Values>>()
        return Stream.fail(new Broke())
      })
    })
    expectTypeOf(service).toEqualTypeOf<GrpcServer.Service<Broke, Ledger>>()
    // @ts-expect-error: a response is an object
    GrpcServer.unary(() => Effect.succeed("text"))
  })

  it("refuses handlers that are missing, unknown or of the wrong type", () => {
    const getItem = () => Effect.succeed({})
    // @ts-expect-error: three are missing
    GrpcServer.service(es, { getItem })
    expectTypeOf(GrpcServer.partial(es, { getItem })).toEqualTypeOf<GrpcServer.Service>()
    // @ts-expect-error: there is no such method
    GrpcServer.partial(es, { getItem, nothing: getItem })
    // @ts-expect-error: no field of an item
    GrpcServer.partial(es, { getItem: () => Effect.succeed({ id: 1 }) })
    // @ts-expect-error: a stream
    GrpcServer.partial(es, { listItems: getItem })
    // @ts-expect-error: a whole item
    GrpcServer.partial(tsProto, { getItem })
    // @ts-expect-error: a Date
    GrpcServer.partial(loaded, Shop, { GetItem: () => Effect.succeed({ id: "1", madeAt: "today" }) })
  })
})

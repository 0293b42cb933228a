import { Context, Effect, Layer, Schema, Stream } from "effect"
import { type Grpc, GrpcError, GrpcSchema, GrpcServer, GrpcService, Listener } from "hawser"

// what the messages of acme.proto are in this program
const Item = Schema.Struct({ sku: Schema.String, price: Schema.Finite })
const Shop = GrpcService.make("acme.Shop", {
  Find: GrpcService.unary({ payload: Schema.Struct({ sku: Schema.String }), success: Item }),
  Watch: GrpcService.serverStream({ payload: Schema.Struct({}), success: Item })
})
const schema = GrpcSchema.fromFile("./acme.proto")

class Stock extends Context.Service<Stock, {
  readonly find: (sku: string) => Effect.Effect<typeof Item.Type | undefined>
  readonly changes: Stream.Stream<typeof Item.Type>
}>()("app/Stock") {}

// handlers are Effects and Streams; what they need, the layer needs
const shop = GrpcServer.service(schema, Shop, {
  Find: Effect.fnUntraced(function*({ sku }) {
    const stock = yield* Stock
    return (yield* stock.find(sku)) ?? (yield* new GrpcError.NotFound({ message: `no ${sku}` }))
  }),
  Watch: () => Stream.unwrap(Stock.useSync((stock) => stock.changes))
})

export const Live = GrpcServer.layer({ services: [shop], port: 50051 }).pipe(Layer.provide(Listener.layer))

// the same definition makes a client whose calls have these types
export const price = Effect.fnUntraced(function*(grpc: Grpc.Grpc["Service"], sku: string) {
  const channel = yield* grpc.connect({ url: "http://127.0.0.1:50051", schema })
  const shop = yield* channel.client(Shop)
  return (yield* shop.Find({ sku }, { timeout: "1 second" })).price
}, Effect.scoped)

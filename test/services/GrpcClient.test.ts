import { assert, describe } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { CallError, GrpcChannel } from "../../src/services/GrpcChannel.ts"
import type { Bidi, ClientStream, ServerStream, Unary } from "../../src/services/GrpcClient.ts"
import * as GrpcService from "../../src/services/GrpcService.ts"
import { connect } from "../support/grpc.ts"
import { type Item as TsProtoItem, ShopService } from "../support/grpc/generated/shop.ts"
import * as Es from "../support/grpc/generated/shop_pb.js"
import { Item, loadShop, Shop } from "../support/grpc/shop.ts"
import { itemOf, serveShop } from "../support/grpc/shopServer.ts"
import { describeOnNetworks, type NetworkTest } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { turn } from "../support/scripted.ts"

interface Priced {
  readonly id: string
  readonly priceCents: bigint
}

/** What the clients of all sources have in common. */
interface Shopper<Given> {
  readonly getItem: Unary<{ id: string }, Priced>
  readonly listItems: ServerStream<{ count: number; failAfter: number }, Priced>
  readonly buy: ClientStream<Given, { readonly items: number; readonly totalCents: bigint }>
  readonly exchange: Bidi<Given, Priced>
}

const until = (holds: () => boolean) =>
  Effect.gen(function*() {
    while (!holds()) yield* turn
  })

const open = Effect.gen(function*() {
  const { seen, url } = yield* serveShop
  return { seen, channel: yield* connect(url, { schema: loadShop }) }
})

const namesOf = (items: ReadonlyArray<Priced>) => items.map(({ id }) => id)

/** What clients of every source do alike. */
const suiteOf = <Given>(
  clientOf: (channel: GrpcChannel) => Effect.Effect<Shopper<Given>, CallError>,
  given: (id: string, priceCents: bigint) => Given,
  /** What the code that reads and writes messages refuses. */
  wrong: Given
) =>
(test: NetworkTest) => {
  const shop = Effect.gen(function*() {
    const { channel, seen } = yield* open
    return { seen, client: yield* clientOf(channel) }
  })

  test("calls a unary method, and fails with the server's status", () =>
    Effect.gen(function*() {
      const { client } = yield* shop
      const { id, priceCents } = yield* client.getItem({ id: "lamp" })
      assert.deepEqual({ id, priceCents }, { id: "lamp", priceCents: 100n })
      const error = yield* Effect.flip(client.getItem({ id: "none" }))
      assert(error._tag === "GrpcError" && error.reason._tag === "NotFound")
      assert.strictEqual(error.reason.message, "no such item")
    }))

  test("passes options on, and gives headers and trailers where they are asked for", () =>
    Effect.gen(function*() {
      const { client } = yield* shop
      const options = { metadata: { "x-ask": "why" }, timeout: "1 minute" } as const
      for (
        const { headers, trailers } of [
          yield* client.getItem.exchange({ id: "lamp" }, options),
          yield* client.buy.exchange(Stream.make(given("a", 1n)), options)
        ]
      ) {
        assert.deepEqual(headers.text["x-asked"], ["why"])
        assert.deepEqual(trailers.text["x-trace"], ["end"])
      }
    }))

  test("reads a stream of responses to its end", () =>
    Effect.gen(function*() {
      const { client } = yield* shop
      const items = yield* Stream.runCollect(client.listItems({ count: 3, failAfter: 0 }))
      assert.deepEqual(namesOf(items), ["item 0", "item 1", "item 2"])
    }))

  test("delivers the responses before an error, and then the error", () =>
    Effect.gen(function*() {
      const { client } = yield* shop
      const items: Array<Priced> = []
      const error = yield* client.listItems({ count: 3, failAfter: 2 }).pipe(
        Stream.runForEach((item) => Effect.sync(() => void items.push(item))),
        Effect.flip
      )
      assert.deepEqual(namesOf(items), ["item 0", "item 1"])
      assert(error._tag === "GrpcError")
      assert.strictEqual(error.reason._tag, "Aborted")
    }))

  test("gives the headers of a stream before its first message, and its trailers after the last", () =>
    Effect.gen(function*() {
      const { client } = yield* shop
      const waiting = yield* client.listItems.exchange({ count: 0, failAfter: 0 }, { metadata: { "x-ask": "now" } })
      assert.deepEqual((yield* waiting.headers).text["x-asked"], ["now"])
      const ending = yield* client.listItems.exchange({ count: 2, failAfter: 0 })
      assert.deepEqual(namesOf(yield* Stream.runCollect(ending.messages)), ["item 0", "item 1"])
      assert.deepEqual((yield* ending.trailers).text["x-trace"], ["end"])
    }))

  test("cancels a stream that is ended early, and one whose scope closes", () =>
    Effect.gen(function*() {
      const { client, seen } = yield* shop
      const requests = Stream.concat(Stream.make(given("a", 1n)), Stream.never)
      yield* client.exchange(requests).pipe(Stream.take(1), Stream.runDrain)
      yield* until(() => seen.ended === 1)
      yield* Effect.scoped(Effect.andThen(client.exchange.exchange(requests), ({ headers }) => headers))
      yield* until(() => seen.ended === 2)
      yield* Effect.scoped(
        Effect.andThen(client.listItems.exchange({ count: 0, failAfter: 0 }), ({ headers }) => headers)
      )
      yield* until(() => seen.ended === 3)
    }))

  test("cancels a call that is interrupted", () =>
    Effect.gen(function*() {
      const { client, seen } = yield* shop
      const fiber = yield* Effect.forkChild(client.buy(Stream.never))
      yield* until(() => seen.calls === 1)
      yield* Fiber.interrupt(fiber)
      yield* until(() => seen.ended === 1)
    }))

  test("sends a stream of requests", () =>
    Effect.gen(function*() {
      const { client } = yield* shop
      const { items, totalCents } = yield* client.buy(
        Stream.map(Stream.range(1, 100), (price) => given(`${price}`, BigInt(price)))
      )
      assert.deepEqual({ items, totalCents }, { items: 100, totalCents: 5050n })
    }))

  test("sends and receives at the same time", () =>
    Effect.gen(function*() {
      const { client } = yield* shop
      const requests = yield* Queue.unbounded<Given>()
      yield* Queue.offer(requests, given("0", 0n))
      const items = yield* client.exchange(Stream.fromQueue(requests)).pipe(
        Stream.tap(({ priceCents }) => Queue.offer(requests, given(`${priceCents + 1n}`, priceCents + 1n))),
        Stream.take(5),
        Stream.runCollect
      )
      assert.deepEqual(namesOf(items), ["0", "1", "2", "3", "4"])
      const exchange = yield* client.exchange.exchange(Stream.make(given("x", 1n), given("y", 2n)))
      assert.deepEqual(namesOf(yield* Stream.runCollect(exchange.messages)), ["x", "y"])
      assert.deepEqual((yield* exchange.trailers).text["x-trace"], ["end"])
    }))

  test("fails as the stream of requests does, and cancels the call", () =>
    Effect.gen(function*() {
      const { client, seen } = yield* shop
      const broken = (answered: Deferred.Deferred<void>) =>
        Stream.concat(
          Stream.make(given("a", 1n)),
          Stream.fromEffect(Effect.andThen(Deferred.await(answered), Effect.fail("boom" as const)))
        )
      const seenOne = yield* Deferred.make<void>()
      const fiber = yield* Effect.forkChild(Effect.flip(client.buy(broken(seenOne))))
      yield* until(() => seen.calls === 1)
      yield* Deferred.succeed(seenOne, undefined)
      assert.strictEqual(yield* Fiber.join(fiber), "boom")
      yield* until(() => seen.ended === 1)
      const answered = yield* Deferred.make<void>()
      const error = yield* client.exchange(broken(answered)).pipe(
        Stream.runForEach(() => Deferred.succeed(answered, undefined)),
        Effect.flip
      )
      assert.strictEqual(error, "boom")
      yield* until(() => seen.ended === 2)
      const again = yield* Deferred.make<void>()
      const exchange = yield* client.exchange.exchange(broken(again))
      assert.strictEqual(
        yield* Effect.flip(Stream.runForEach(exchange.messages, () => Deferred.succeed(again, undefined))),
        "boom"
      )
    }))

  test("refuses a request that makes no sense, and says so in the middle of a stream", () =>
    Effect.gen(function*() {
      const { client, seen } = yield* shop
      for (
        const call of [
          client.buy(Stream.make(given("a", 1n), wrong)),
          Stream.runDrain(client.exchange(Stream.make(given("a", 1n), wrong)))
        ]
      ) {
        const error = yield* Effect.flip(call)
        assert(error._tag === "GrpcSchemaError" && error.reason._tag === "InvalidMessage")
        assert.strictEqual(error.reason.part, "request")
      }
      yield* until(() => seen.ended === seen.calls)
    }))
}

const TsProto = suiteOf<TsProtoItem>(
  (channel) => channel.client(ShopService),
  itemOf,
  { ...itemOf("wrong", 1n), priceCents: 2n ** 70n }
)

const ProtobufEs = suiteOf<{ id: string; priceCents: bigint }>(
  (channel) => channel.client(Es.Shop),
  (id, priceCents) => ({ id, priceCents }),
  { id: "wrong", priceCents: 2n ** 70n }
)

const EffectSchema = suiteOf<typeof Item.Type>(
  (channel) =>
    Effect.map(channel.client(Shop), ({ Buy, Exchange, GetItem, ListItems }) => ({
      getItem: GetItem,
      listItems: ListItems,
      buy: Buy,
      exchange: Exchange
    })),
  (id, priceCents) => ({ id, priceCents, colour: "COLOUR_RED", picture: new Uint8Array(), tags: [], stock: {} }),
  { id: "wrong", priceCents: -1n, colour: "COLOUR_RED", picture: new Uint8Array(), tags: [], stock: {} }
)

describe("GrpcClient", () => {
  describeOnNetworks("of ts-proto", TsProto)
  describeOnNetworks("of protobuf-es", ProtobufEs)
  describeOnNetworks("of Effect schemas", EffectSchema)

  describeOnNetworks("of any source", (test) => {
    test("gives messages in the form of the source", () =>
      Effect.gen(function*() {
        const { channel } = yield* open
        const lamp = itemOf("lamp", 100n)
        const byTsProto = yield* channel.client(ShopService)
        assert.deepEqual(yield* byTsProto.getItem({ id: "lamp" }), lamp)
        const byEs = yield* channel.client(Es.Shop)
        const { colour, madeAt, stock } = yield* byEs.getItem({ id: "lamp" })
        assert.deepEqual({ colour, stock }, { colour: Es.Colour.RED, stock: { berlin: 2 } })
        assert.strictEqual(madeAt?.seconds, 1_700_000_000n)
        const bySchema = yield* channel.client(Shop)
        assert.deepEqual(yield* bySchema.GetItem({ id: "lamp" }), {
          id: "lamp",
          priceCents: 100n,
          colour: "COLOUR_RED",
          picture: new Uint8Array([1, 2, 3]),
          tags: ["new"],
          stock: { berlin: 2 },
          size: { width: 1, height: 2 }
        })
      }))

    test("refuses a response that does not fit its schema", () =>
      Effect.gen(function*() {
        const { channel } = yield* open
        const success = Schema.Struct({ priceCents: Schema.BigInt.check(Schema.isGreaterThanBigInt(1000n)) })
        const shop = yield* channel.client(
          GrpcService.make("acme.shop.v1.Shop", {
            GetItem: GrpcService.unary({ payload: Schema.Struct({ id: Schema.String }), success }),
            ListItems: GrpcService.serverStream({ payload: Schema.Struct({ count: Schema.Int }), success })
          })
        )
        const calls = [shop.GetItem({ id: "lamp" }), Stream.runDrain(shop.ListItems({ count: 3 }))]
        for (const call of calls) {
          const error = yield* Effect.flip(call)
          assert(error._tag === "GrpcSchemaError" && error.reason._tag === "InvalidMessage")
          assert.strictEqual(error.reason.part, "response")
          assert.strictEqual(error.reason.path, "priceCents")
        }
      }))

    test("delivers the responses before one that its schema refuses", () =>
      Effect.gen(function*() {
        const { channel, seen } = yield* open
        const success = Schema.Struct({ priceCents: Schema.BigInt.check(Schema.isLessThanBigInt(2n)) })
        const payload = Schema.Struct({ count: Schema.Int })
        const shop = yield* channel.client(
          GrpcService.make("acme.shop.v1.Shop", { ListItems: GrpcService.serverStream({ payload, success }) })
        )
        const prices: Array<bigint> = []
        const error = yield* shop.ListItems({ count: 5 }).pipe(
          Stream.runForEach(({ priceCents }) => Effect.sync(() => void prices.push(priceCents))),
          Effect.flip
        )
        assert.deepEqual(prices, [0n, 1n])
        assert.strictEqual(error._tag, "GrpcSchemaError")
        yield* until(() => seen.ended === 1)
      }))

    test("lets middleware wrap calls and the responses of an exchange", () =>
      Effect.gen(function*() {
        const { url } = yield* serveShop
        const log: Array<string> = []
        const channel = yield* connect(url, {
          middleware: [{
            effect: (call, { method }) => Effect.tap(call, () => Effect.sync(() => void log.push(method))),
            stream: (responses, { kind }) => Stream.tap(responses, () => Effect.sync(() => void log.push(kind)))
          }]
        })
        const shop = yield* channel.client(Es.Shop)
        yield* shop.getItem.exchange({ id: "lamp" })
        yield* Stream.runDrain((yield* shop.listItems.exchange({ count: 2 })).messages)
        yield* Stream.runDrain((yield* shop.exchange.exchange(Stream.make({ id: "a" }))).messages)
        assert.deepEqual(log, ["acme.shop.v1.Shop/GetItem", "serverStream", "serverStream", "bidi"])
      }))

    test("is not made where the schemas and the definition do not agree", () =>
      Effect.gen(function*() {
        const { channel } = yield* open
        const payload = Schema.Struct({ id: Schema.String })
        const missing = GrpcService.make("acme.shop.v1.Shop", {
          Get: GrpcService.unary({ payload, success: Item })
        })
        assert.strictEqual((yield* reasonOf(channel.client(missing)))["_tag"], "UnknownMethod")
        const otherKind = GrpcService.make("acme.shop.v1.Shop", {
          GetItem: GrpcService.serverStream({ payload, success: Item })
        })
        assert.strictEqual((yield* reasonOf(channel.client(otherKind)))["_tag"], "WrongKind")
      }))
  })
})

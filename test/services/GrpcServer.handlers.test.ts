import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import * as GrpcError from "../../src/errors/GrpcError.ts"
import { type EventInput, EventSink } from "../../src/internal/events.ts"
import * as Details from "../../src/internal/grpc/wire/details.ts"
import type * as Dialer from "../../src/services/Dialer.ts"
import * as GrpcSchema from "../../src/services/GrpcSchema.ts"
import * as GrpcServer from "../../src/services/GrpcServer.ts"
import type * as Listener from "../../src/services/Listener.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { type Item as TsProtoItem, ShopService } from "../support/grpc/generated/shop.ts"
import * as Es from "../support/grpc/generated/shop_pb.js"
import { loadShop, Shop } from "../support/grpc/shop.ts"
import { call, connect, note, notes, open, schema, server, serving, statusOf, textOf } from "../support/grpcServer.ts"
import { leavesNothing } from "../support/leaks.ts"

const test = (
  title: string,
  body: () => Effect.Effect<unknown, unknown, Dialer.Dialer | Listener.Listener | Scope.Scope>
) => it.live(title, () => leavesNothing(Effect.provide(Effect.scoped(body()), TestNetwork.layer())))

class Broke extends Data.TaggedError("Broke")<{ readonly password: string }> {}

/** What is logged, as text. */
const logged = () => {
  const lines: Array<string> = []
  const logger = Logger.make(({ cause, message }) => void lines.push(`${String(message)} ${Cause.pretty(cause)}`))
  return { lines, layer: Logger.layer([logger]) }
}

describe("failures of gRPC handlers", () => {
  test("are told as their reason, and as Unknown where they are none: those are logged", () =>
    Effect.gen(function*() {
      const { layer, lines } = logged()
      const nested = new GrpcError.GrpcError({
        method: "other.Service/Get",
        reason: new GrpcError.Unauthenticated({ message: "the inner password is wrong" })
      })
      const { address } = yield* serving({
        One: GrpcServer.unary(({ text }): Effect.Effect<object, unknown> => {
          switch (text) {
            case "fail":
              return Effect.fail(new Broke({ password: "hunter2" }))
            case "die":
              return Effect.die(new Error("a bug"))
            case "throw":
              throw new Error("thrown")
            case "nested":
              return Effect.fail(nested)
            case "passed on":
              return Effect.unwrapReason(Effect.fail(nested), "GrpcError")
            default:
              return Effect.interrupt
          }
        })
      }).pipe(Effect.provide(layer))
      const client = yield* connect(address)
      for (const text of ["fail", "die", "throw", "nested"]) {
        assert.deepStrictEqual(statusOf(yield* call(client, "One", [note(text)])), ["2", "the handler failed"], text)
      }
      assert.strictEqual(lines.length, 4)
      assert.include(lines[1], "a bug")
      assert.include(lines[3], "the inner password is wrong")
      assert.deepStrictEqual(statusOf(yield* call(client, "One", [note("passed on")])), [
        "16",
        "the inner password is wrong"
      ])
      assert.deepStrictEqual(statusOf(yield* call(client, "One", [note("interrupt")])), [
        "1",
        "the handler was interrupted"
      ])
      assert.strictEqual(lines.length, 4)
    }))

  test("are what onError says", () =>
    Effect.gen(function*() {
      const { layer, lines } = logged()
      const failing = notes({
        One: GrpcServer.unary(({ text }) => Effect.fail(text === "broke" ? new Broke({ password: "x" }) : "other"))
      })
      const { address } = yield* server({
        services: [failing],
        onError: (error) => typeof error === "string" ? undefined : new GrpcError.DataLoss({ message: error._tag })
      }).pipe(Effect.provide(layer))
      const client = yield* connect(address)
      assert.deepStrictEqual(statusOf(yield* call(client, "One", [note("broke")])), ["15", "Broke"])
      assert.strictEqual(lines.length, 0)
      assert.deepStrictEqual(statusOf(yield* call(client, "One", [note("other")])), ["2", "the handler failed"])
      assert.strictEqual(lines.length, 1)
    }))

  test("are Internal when a response does not fit, after those that did", () =>
    Effect.gen(function*() {
      const { layer, lines } = logged()
      const { address } = yield* serving({
        One: GrpcServer.unary(() => Effect.succeed({ colour: "red" })),
        Down: GrpcServer.serverStream(() => Stream.make({ text: "fits" }, { number: "does not" }))
      }).pipe(Effect.provide(layer))
      const client = yield* connect(address)
      const told = ["13", "the response does not fit its definition"] as const
      assert.deepStrictEqual(statusOf(yield* call(client, "One", [note("x")])), told)
      const down = yield* call(client, "Down", [note("x")])
      assert.deepStrictEqual([statusOf(down), down.messages.map(textOf)], [told, ["fits"]])
      assert.include(lines[0], "colour")
    }))

  test("include headers that are sent twice, and metadata that cannot be sent", () =>
    Effect.gen(function*() {
      const { layer, lines } = logged()
      const { address } = yield* serving({
        One: GrpcServer.unary((_, call) => Effect.andThen(call.sendHeaders(), Effect.as(call.sendHeaders(), {}))),
        Up: GrpcServer.clientStream((_, call) => Effect.as(call.setTrailers({ "grpc-status": "0" }), {})),
        // those of another server, say: what cannot be sent again is left out
        Down: GrpcServer.serverStream(() => {
          const trailers = { text: { etag: ["1", "2"], ":path": ["/"], "grpc-status": ["0"] }, binary: {} }
          return Stream.fail(new GrpcError.Aborted({ message: "with etags", trailers }))
        })
      }).pipe(Effect.provide(layer))
      const client = yield* connect(address)
      assert.strictEqual(statusOf(yield* call(client, "One", [note("x")]))[0], "2")
      assert.strictEqual(statusOf(yield* call(client, "Up", []))[0], "2")
      assert.deepStrictEqual(statusOf(yield* call(client, "Down", [note("x")])), ["10", "with etags"])
      assert.include(lines[0], "the headers have been sent already")
      assert.include(lines[1], "metadata.grpc-status")
    }))
})

describe("what gRPC handlers get", () => {
  class Prefix extends Context.Service<Prefix, string>()("test/Prefix") {}

  test("is what the layer was built with, and a scope that ends before the answer", () =>
    Effect.gen(function*() {
      const order: Array<string> = []
      const { address } = yield* serving({
        One: GrpcServer.unary(({ text }) =>
          Effect.gen(function*() {
            yield* Effect.addFinalizer(() => Effect.sync(() => order.push("closed")))
            return { text: `${yield* Prefix}${String(text)}` }
          })
        )
      }).pipe(Effect.provideService(Prefix, "> "))
      const answer = yield* call(yield* connect(address), "One", [note("x")])
      order.push("answered")
      assert.deepStrictEqual(answer.messages.map(textOf), ["> x"])
      assert.deepStrictEqual(order, ["closed", "answered"])
    }))

  test("can be taken out of the call", () =>
    Effect.gen(function*() {
      const { address } = yield* serving({
        One: GrpcServer.unary((_, { sendHeaders, setCompression, setTrailers }) =>
          sendHeaders({ "x-a": "1" }).pipe(
            Effect.andThen(setTrailers({ "x-b": "2" })),
            Effect.andThen(setCompression("gzip")),
            Effect.as({})
          )
        )
      })
      const answer = yield* call(yield* connect(address), "One", [note("x")])
      assert.deepStrictEqual([answer.headers["x-a"], answer.status["x-b"]], ["1", "2"])
    }))
})

/** A client that calls a shop by bytes that protobuf-es makes. */
const buyOne = Effect.fnUntraced(function*(address: GrpcServer.GrpcServer["Service"]["address"]) {
  const client = yield* connect(address)
  const protobuf = yield* Effect.promise(() => import("@bufbuild/protobuf"))
  const encode = (item: { id: string; priceCents: bigint }) =>
    protobuf.toBinary(Es.ItemSchema, protobuf.create(Es.ItemSchema, item))
  const shop = (method: string, ...messages: ReadonlyArray<Uint8Array>) =>
    call(client, "", messages, { ":path": `/acme.shop.v1.Shop/${method}` })
  const items = (answer: { readonly messages: ReadonlyArray<Buffer> }) =>
    answer.messages.map((bytes) => protobuf.fromBinary(Es.ItemSchema, bytes)).map((
      { id, priceCents }
    ) => [id, priceCents])
  const get = yield* shop(
    "GetItem",
    protobuf.toBinary(Es.GetItemRequestSchema, protobuf.create(Es.GetItemRequestSchema, { id: "a" }))
  )
  const list = yield* shop(
    "ListItems",
    protobuf.toBinary(Es.ListItemsRequestSchema, protobuf.create(Es.ListItemsRequestSchema, { count: 2 }))
  )
  const buy = yield* shop("Buy", encode({ id: "a", priceCents: 1n }), encode({ id: "b", priceCents: 2n }))
  const exchange = yield* shop("Exchange", encode({ id: "a", priceCents: 1n }))
  assert.deepStrictEqual(items(get), [["a", 7n]])
  assert.deepStrictEqual(items(list), [["0", 7n], ["1", 7n]])
  const receipt = protobuf.fromBinary(Es.ReceiptSchema, buy.messages[0]!)
  assert.deepStrictEqual([receipt.items, receipt.totalCents], [2, 3n])
  assert.deepStrictEqual(items(exchange), [["a", 2n]])
  return { shop, encode }
})

describe("services of gRPC servers", () => {
  test("are those of code generated for grpc-js", () =>
    Effect.gen(function*() {
      const item = (id: string, priceCents: bigint): TsProtoItem => ({
        id,
        priceCents,
        colour: 0,
        picture: Buffer.alloc(0),
        tags: [],
        stock: {},
        note: undefined,
        size: undefined,
        madeAt: undefined,
        courier: undefined,
        parcel: undefined
      })
      const shop = GrpcServer.service(ShopService, {
        getItem: ({ id }) => Effect.succeed(item(id, 7n)),
        listItems: ({ count }) => Stream.map(Stream.range(0, count - 1), (id) => item(String(id), 7n)),
        buy: (items) =>
          Stream.runFold(items, () => ({ items: 0, totalCents: 0n }), (sum, { priceCents }) => ({
            items: sum.items + 1,
            totalCents: sum.totalCents + priceCents
          })),
        exchange: (items) => Stream.map(items, ({ id, priceCents }) => item(id, priceCents * 2n))
      })
      yield* buyOne((yield* server({ services: [shop] })).address)
    }))

  test("are those of protobuf-es", () =>
    Effect.gen(function*() {
      const shop = GrpcServer.service(Es.Shop, {
        getItem: ({ id }) => Effect.succeed({ id, priceCents: 7n }),
        listItems: ({ count }) => Stream.map(Stream.range(0, count - 1), (id) => ({ id: String(id), priceCents: 7n })),
        buy: (items) =>
          Stream.runFold(items, () => ({ items: 0, totalCents: 0n }), (sum, { priceCents }) => ({
            items: sum.items + 1,
            totalCents: sum.totalCents + priceCents
          })),
        exchange: (items) => Stream.map(items, ({ id, priceCents }) => ({ id, priceCents: priceCents * 2n }))
      })
      yield* buyOne((yield* server({ services: [shop] })).address)
    }))

  test("are those of Effect schemas, whose checks are told as InvalidArgument with the field", () =>
    Effect.gen(function*() {
      const empty = { colour: "COLOUR_UNSPECIFIED", picture: new Uint8Array(0), tags: [], stock: {} } as const
      const shop = GrpcServer.service(loadShop, Shop, {
        GetItem: ({ id }) => Effect.succeed({ ...empty, id, priceCents: 7n }),
        ListItems: ({ count }) =>
          Stream.map(Stream.range(0, count - 1), (id) => ({ ...empty, id: String(id), priceCents: 7n })),
        Buy: (items) =>
          Stream.runFold(items, () => ({ items: 0, totalCents: 0n }), (sum, { priceCents }) => ({
            items: sum.items + 1,
            totalCents: sum.totalCents + priceCents
          })),
        Exchange: (items) => Stream.map(items, (item) => ({ ...item, priceCents: item.priceCents * 2n }))
      })
      const bought = yield* buyOne((yield* server({ services: [shop] })).address)
      for (const method of ["Exchange", "Buy"]) {
        const answer = yield* bought.shop(method, bought.encode({ id: "a", priceCents: -1n }))
        assert.strictEqual(statusOf(answer)[0], "3", method)
        const details = Details.decode(Buffer.from(String(answer.status["grpc-status-details-bin"]), "base64"))
        assert.deepStrictEqual(
          details.map((detail) => detail._tag === "BadRequest" && detail.fieldViolations[0]?.field),
          [
            "priceCents"
          ]
        )
      }
    }))

  test("must fit their definitions", () =>
    Effect.gen(function*() {
      const one = GrpcServer.unary(() => Effect.succeed({}))
      const build = <E>(service: GrpcServer.Service<E>) =>
        Effect.map(Effect.flip(server({ services: [service] })), (error) =>
          "reason" in error ? Object.fromEntries(Object.entries(error.reason)) : error)
      assert.include(yield* build(GrpcServer.service(schema, "test.Notes", { One: one })), {
        _tag: "UnhandledMethod",
        method: "test.Notes/Down"
      })
      assert.include(yield* build(notes({ Down: one })), { _tag: "WrongKind", method: "test.Notes/Down" })
      assert.include(yield* build(notes({ Two: one })), { _tag: "UnknownMethod", method: "test.Notes/Two" })
      assert.include(yield* build(GrpcServer.service(schema, "test.Nothing", {})), { _tag: "UnknownMethod" })
      assert.include(yield* build(GrpcServer.service(GrpcSchema.fromSource("nonsense"), "test.Notes", {})), {
        _tag: "Syntax"
      })
    }))

  test("can be several, of which the first counts; health and reflection can be left out", () =>
    Effect.gen(function*() {
      const say = (text: string) => notes({ One: GrpcServer.unary(() => Effect.succeed({ text })) })
      const services = [say("first"), say("second")]
      const { address } = yield* server({ services, health: false, reflection: false })
      const client = yield* connect(address)
      assert.deepStrictEqual((yield* call(client, "One", [note("x")])).messages.map(textOf), ["first"])
      for (
        const path of ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"]
      ) {
        assert.strictEqual(statusOf(yield* call(client, "", [note("")], { ":path": path }))[0], "12")
      }
    }))

  test("are healthy until something else is said, and reflected", () =>
    Effect.gen(function*() {
      const { address, setHealth } = yield* serving({})
      const client = yield* connect(address)
      const check = (service: string) =>
        Effect.map(
          call(client, "", [note(service)], { ":path": "/grpc.health.v1.Health/Check" }),
          (answer) => [statusOf(answer)[0], ...answer.messages.map((bytes) => bytes[1])]
        )
      assert.deepStrictEqual(yield* check(""), ["0", 1])
      assert.deepStrictEqual(yield* check("test.Notes"), ["0", 1])
      assert.deepStrictEqual(yield* check("test.Nothing"), ["5"])
      yield* setHealth("test.Notes", "NOT_SERVING")
      assert.deepStrictEqual(yield* check("test.Notes"), ["0", 2])
      // list_services
      const reflected = open(client, "", { ":path": "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo" })
      reflected.send(Buffer.from([58, 0]))
      const answer = String(yield* reflected.next)
      for (const name of ["test.Notes", "grpc.health.v1.Health"]) assert.include(answer, name)
      reflected.end()
      yield* reflected.answer
    }))
})

describe("what is observed of gRPC servers", () => {
  test("are spans, children of the client's, by OpenTelemetry's conventions", () =>
    Effect.gen(function*() {
      const spans: Array<Tracer.NativeSpan> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      const { address } = yield* serving({
        One: GrpcServer.unary(({ text }) =>
          text === "fail"
            ? Effect.fail(new GrpcError.NotFound({ message: "no" }))
            : Effect.withSpan(Effect.succeed({ text }), "inner")
        )
      }).pipe(Effect.provideService(Tracer.Tracer, tracer), Effect.withSpan("the whole program"))
      const client = yield* connect(address)
      const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
      yield* call(client, "One", [note("x")], { traceparent })
      yield* call(client, "One", [note("fail")])
      const [served, inner, failed] = spans.filter(({ name }) => name === "test.Notes/One" || name === "inner")
      assert(served !== undefined && inner !== undefined && failed !== undefined)
      assert.deepStrictEqual([served.name, served.kind, served.traceId], [
        "test.Notes/One",
        "server",
        "0af7651916cd43dd8448eb211c80319c"
      ])
      assert.strictEqual(Option.getOrUndefined(served.parent)?.spanId, "b7ad6b7169203331")
      assert.strictEqual(Option.getOrUndefined(inner.parent)?.spanId, served.spanId)
      const attributes = Object.fromEntries(served.attributes)
      assert.include(attributes, {
        "rpc.system": "grpc",
        "rpc.service": "test.Notes",
        "rpc.method": "One",
        "rpc.grpc.status_code": 0
      })
      assert.match(String(attributes["client.address"]), /:\d+$/)
      assert.deepStrictEqual(failed.parent, Option.none())
      assert.strictEqual(failed.attributes.get("rpc.grpc.status_code"), 5)
    }))

  test("are metrics, by method and status, and events", () =>
    Effect.gen(function*() {
      const events: Array<EventInput> = []
      const { address } = yield* serving({
        Down: GrpcServer.serverStream(() => Stream.make({ text: "1" }, { text: "2" })),
        Up: GrpcServer.clientStream(() => Effect.fail(new GrpcError.Aborted({ message: "no" })))
      }).pipe(Effect.provideService(EventSink, (event) => void events.push(event)))
      const client = yield* connect(address)
      yield* call(client, "Down", [note("x")])
      yield* call(client, "Up", [])
      const snapshot = yield* Metric.snapshot
      const value = (id: string, attributes: object) =>
        snapshot.find((metric) =>
          metric.id === id && Object.entries(attributes).every(([name, value]) => metric.attributes?.[name] === value)
        )?.state
      const method = "test.Notes/Down"
      assert.isAtLeast(Object(value("hawser_grpc_server_started_total", { method })).count, 1)
      assert.isAtLeast(Object(value("hawser_grpc_server_completed_total", { method, status: "OK" })).count, 1)
      assert.isAtLeast(Object(value("hawser_grpc_server_messages_total", { method, direction: "sent" })).count, 2)
      assert.isAtLeast(Object(value("hawser_grpc_server_messages_total", { method, direction: "received" })).count, 1)
      assert.isAtLeast(Object(value("hawser_grpc_server_duration", { method })).count, 1)
      const up = { method: "test.Notes/Up", status: "Aborted" }
      assert.isAtLeast(Object(value("hawser_grpc_server_completed_total", up)).count, 1)
      const own = events.filter(({ source }) => source === "grpc")
      assert.deepStrictEqual(own.map(({ event }) => event), ["accepted", "completed", "failed"])
      assert.match(own[1]?.detail ?? "", /^test\.Notes\/Down OK after \d+ ms$/)
      assert.match(own[2]?.detail ?? "", /^test\.Notes\/Up Aborted after \d+ ms: no$/)
    }))
})

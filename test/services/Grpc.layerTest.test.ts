import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { Refused } from "../../src/errors/DialError.ts"
import { InvalidArgument, NotFound, Unavailable } from "../../src/errors/GrpcError.ts"
import * as Grpc from "../../src/services/Grpc.ts"
import * as GrpcSchema from "../../src/services/GrpcSchema.ts"
import * as GrpcServer from "../../src/services/GrpcServer.ts"
import { loadShop, Shop } from "../support/grpc/shop.ts"
import { schema } from "../support/grpcServer.ts"
import { leavesNothing } from "../support/leaks.ts"

const echo = {
  One: GrpcServer.unary((request) => Effect.succeed({ text: `${String(request["text"])}!` })),
  Down: GrpcServer.serverStream((request) =>
    Stream.map(Stream.range(1, Number(request["number"])), (number) => ({ number }))
  ),
  Up: GrpcServer.clientStream((requests) =>
    Effect.map(Stream.runCollect(requests), (all) => ({ text: all.map(({ text }) => text).join(" ") }))
  ),
  Both: GrpcServer.bidi((requests) => Stream.map(requests, ({ text }) => ({ text: `${String(text)}?` })))
}

const Echo = Grpc.layerTest({ services: [GrpcServer.service(schema, "test.Notes", echo)] })

/** A service of which a test needs some methods. */
const answering = <const H extends GrpcServer.NamedHandlers>(handlers: H) =>
  Grpc.layerTest({ services: [GrpcServer.partial(schema, "test.Notes", handlers)] })

const connect = (options: Partial<Grpc.ConnectOptions> = {}) =>
  Effect.flatMap(Grpc.Grpc, (grpc) => grpc.connect({ url: "http://notes.test:50051", schema, ...options }))

/** The reason of an error, as a plain record to compare with. */
const reasonOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(
    Effect.flip(effect),
    (error): Readonly<Record<string, unknown>> =>
      "reason" in error && error.reason instanceof Error
        ? { ...Object.fromEntries(Object.entries(error.reason)), message: error.reason.message }
        : {}
  )

describe("Grpc.layerTest", () => {
  it.effect("answers calls of the four kinds from handlers", () =>
    Effect.gen(function*() {
      const channel = yield* connect()
      assert.deepInclude(yield* channel.unary("test.Notes/One", { text: "hi" }), { text: "hi!" })
      const down = yield* Stream.runCollect(channel.serverStream("test.Notes/Down", { number: 3 }))
      assert.deepStrictEqual(down.map(({ number }) => number), [1, 2, 3])
      const items = Stream.make({ text: "a" }, { text: "b" })
      assert.deepInclude(yield* channel.clientStream("test.Notes/Up", items), { text: "a b" })
      const both = yield* Stream.runCollect(channel.bidi("test.Notes/Both", items))
      assert.deepStrictEqual(both.map(({ text }) => text), ["a?", "b?"])
    }).pipe(leavesNothing, Effect.provide(Echo)))

  it.effect("answers streams without messages, and many messages", () =>
    Effect.gen(function*() {
      const channel = yield* connect()
      assert.deepInclude(yield* channel.clientStream("test.Notes/Up", Stream.empty), { text: "" })
      assert.deepStrictEqual(yield* Stream.runCollect(channel.bidi("test.Notes/Both", Stream.empty)), [])
      const down = channel.serverStream("test.Notes/Down", { number: 20_000 })
      assert.strictEqual(yield* Stream.runCount(down), 20_000)
      const large = { text: "x".repeat(1_000_000) }
      const up = yield* channel.clientStream("test.Notes/Up", Stream.make(large, large, large))
      assert.strictEqual(String(up["text"]).length, 3_000_002)
    }).pipe(leavesNothing, Effect.provide(Echo)))

  it.effect("has clients with types for services with types", () => {
    const item = {
      id: "a",
      priceCents: 100n,
      colour: "COLOUR_RED",
      picture: new Uint8Array([1]),
      tags: [],
      stock: {}
    } as const
    const Test = Grpc.layerTest({
      services: [GrpcServer.partial(loadShop, Shop, {
        GetItem: ({ id }) => Effect.succeed({ ...item, id }),
        Exchange: (items) => Stream.map(items, (item) => ({ ...item, priceCents: item.priceCents * 2n }))
      })]
    })
    return Effect.gen(function*() {
      const channel = yield* connect({ schema: loadShop })
      const shop = yield* channel.client(Shop)
      assert.strictEqual((yield* shop.GetItem({ id: "b" })).id, "b")
      const exchanged = yield* Stream.runCollect(shop.Exchange(Stream.make(item, item)))
      assert.deepStrictEqual(exchanged.map(({ priceCents }) => priceCents), [200n, 200n])
      assert.strictEqual((yield* reasonOf(shop.Buy(Stream.make(item))))["_tag"], "Unimplemented")
    }).pipe(leavesNothing, Effect.provide(Test))
  })

  it.effect("talks back and forth in a call that is driven by hand", () =>
    Effect.gen(function*() {
      const channel = yield* connect()
      const call = yield* channel.open("test.Notes/Both")
      for (const text of ["a", "b"]) {
        yield* call.send({ text })
        assert.deepInclude(Option.getOrThrow(yield* call.receive), { text: `${text}?` })
      }
      yield* call.completeSend
      assert.isTrue(Option.isNone(yield* call.receive))
    }).pipe(leavesNothing, Effect.provide(Echo)))

  it.effect("passes metadata both ways, with headers and trailers", () => {
    const seen: Array<unknown> = []
    const One = GrpcServer.unary((_request, call) =>
      Effect.gen(function*() {
        seen.push(call.metadata.text["x-from"], call.metadata.binary["x-raw-bin"], call.authority, call.method)
        yield* call.sendHeaders({ "x-header": "early" })
        yield* call.setTrailers({ "x-trailer": ["late", "later"] })
        return {}
      })
    )
    return Effect.gen(function*() {
      const channel = yield* connect({ metadata: { "x-from": "channel" } })
      const { headers, trailers } = yield* channel.exchange("test.Notes/One", {}, {
        metadata: { "x-from": "call", "x-raw-bin": new Uint8Array([1, 2]) }
      })
      assert.deepStrictEqual(headers.text["x-header"], ["early"])
      assert.deepStrictEqual(trailers.text["x-trailer"], ["late", "later"])
      assert.deepStrictEqual(seen, [
        ["channel", "call"],
        [new Uint8Array([1, 2])],
        "notes.test:50051",
        "test.Notes/One"
      ])
    }).pipe(leavesNothing, Effect.provide(answering({ One })))
  })

  it.effect("fails calls with the reasons of handlers, after the messages before them", () => {
    const details = [{ _tag: "ErrorInfo", reason: "GONE", domain: "test", metadata: {} }] as const
    const trailers = { text: { "x-hint": ["later"] }, binary: {} }
    const reason = new NotFound({ message: "nö 100%", details, trailers })
    return Effect.gen(function*() {
      const channel = yield* connect()
      const error = yield* reasonOf(channel.unary("test.Notes/One", {}))
      assert.deepInclude(error, { _tag: "NotFound", message: "nö 100%", details })
      const messages: Array<unknown> = []
      const stream = channel.serverStream("test.Notes/Down", {}).pipe(
        Stream.runForEach(({ number }) => Effect.sync(() => messages.push(number)))
      )
      assert.strictEqual((yield* reasonOf(stream))["_tag"], "NotFound")
      assert.deepStrictEqual(messages, [1])
    }).pipe(
      leavesNothing,
      Effect.provide(answering({
        One: GrpcServer.unary(() => Effect.fail(reason)),
        Down: GrpcServer.serverStream(() => Stream.concat(Stream.make({ number: 1 }), Stream.fail(reason)))
      }))
    )
  })

  it.effect("asks onError for the status of other errors, and says nothing of bugs", () => {
    class Empty extends Data.TaggedError("Empty")<{ readonly what: string }> {}
    const Test = Grpc.layerTest({
      services: [GrpcServer.partial(schema, "test.Notes", {
        One: GrpcServer.unary(() => Effect.fail(new Empty({ what: "text" }))),
        Up: GrpcServer.clientStream(() => Effect.die(new Error("a secret")))
      })],
      onError: ({ what }) => new InvalidArgument({ message: `${what} is empty` })
    })
    return Effect.gen(function*() {
      const channel = yield* connect()
      assert.deepInclude(yield* reasonOf(channel.unary("test.Notes/One", {})), {
        _tag: "InvalidArgument",
        message: "text is empty"
      })
      assert.deepInclude(yield* reasonOf(channel.clientStream("test.Notes/Up", Stream.empty)), {
        _tag: "Unknown",
        message: "the handler failed"
      })
    }).pipe(leavesNothing, Effect.provide(Test))
  })

  it.effect("has no method but those that are given", () =>
    Effect.gen(function*() {
      const channel = yield* connect({
        schema: GrpcSchema.fromSource(`
          syntax = "proto3";
          package test;
          message Note { string text = 1; }
          service Notes { rpc Up(stream Note) returns (Note); rpc None(Note) returns (Note); }
          service Others { rpc Down(Note) returns (stream Note); }`)
      })
      assert.deepInclude(yield* reasonOf(channel.unary("test.Notes/None", {})), {
        _tag: "Unimplemented",
        message: "the service test.Notes has no method None"
      })
      assert.deepInclude(yield* reasonOf(Stream.runDrain(channel.serverStream("test.Others/Down", {}))), {
        _tag: "Unimplemented",
        message: "there is no service test.Others"
      })
      // which is sent to nobody
      const up = channel.clientStream("test.Notes/Up", Stream.forever(Stream.make({ text: "a" })))
      assert.strictEqual((yield* reasonOf(up))["_tag"], "Unimplemented")
    }).pipe(leavesNothing, Effect.provide(answering({ One: echo.One }))))

  it.effect("refuses requests and responses that do not fit the schema, as always", () =>
    Effect.gen(function*() {
      const channel = yield* connect()
      const error = yield* Effect.flip(channel.unary("test.Notes/One", { txt: "a" }))
      assert.strictEqual(error._tag, "GrpcSchemaError")
      assert.deepInclude(yield* reasonOf(channel.unary("test.Notes/One", {})), {
        _tag: "Internal",
        message: "the response does not fit its definition"
      })
      assert.strictEqual((yield* Effect.flip(channel.unary("test.Notes/Down", {})))._tag, "GrpcSchemaError")
    }).pipe(Effect.provide(answering({ One: GrpcServer.unary(() => Effect.succeed({ number: "many" })) }))))

  it.effect("ends a call at its deadline, which the handler knows, by Effect's clock", () =>
    Effect.gen(function*() {
      const interrupted = yield* Deferred.make<Option.Option<number>>()
      const One = GrpcServer.unary((_request, call) =>
        Effect.onInterrupt(Effect.as(Effect.never, {}), () =>
          Deferred.succeed(interrupted, Option.map(call.deadline, ({ epochMilliseconds }) => epochMilliseconds)))
      )
      yield* Effect.gen(function*() {
        const channel = yield* connect()
        const calling = yield* Effect.forkChild(reasonOf(channel.unary("test.Notes/One", {}, { timeout: "2 seconds" })))
        yield* TestClock.adjust("1999 millis")
        assert.isUndefined(calling.pollUnsafe())
        yield* TestClock.adjust("1 millis")
        assert.strictEqual((yield* Fiber.join(calling))["_tag"], "DeadlineExceeded")
        assert.deepStrictEqual(yield* Deferred.await(interrupted), Option.some(2000))
      }).pipe(leavesNothing, Effect.provide(answering({ One })))
    }))

  it.effect("lets handlers take their time", () =>
    Effect.gen(function*() {
      const channel = yield* connect()
      const calling = yield* Effect.forkChild(channel.unary("test.Notes/One", {}))
      yield* TestClock.adjust("1 minute")
      assert.deepInclude(yield* Fiber.join(calling), { text: "late" })
      const ticks = yield* Effect.forkChild(Stream.runCollect(channel.serverStream("test.Notes/Down", {})))
      yield* TestClock.adjust("3 minutes")
      assert.deepStrictEqual((yield* Fiber.join(ticks)).map(({ number }) => number), [1, 2, 3])
    }).pipe(
      leavesNothing,
      Effect.provide(answering({
        One: GrpcServer.unary(() => Effect.delay(Effect.succeed({ text: "late" }), "1 minute")),
        Down: GrpcServer.serverStream(() =>
          Stream.mapEffect(Stream.make(1, 2, 3), (number) => Effect.delay(Effect.succeed({ number }), "1 minute"))
        )
      }))
    ))

  it.effect("interrupts the handler of a call that nobody waits for any more", () =>
    Effect.gen(function*() {
      const begun = yield* Queue.unbounded<string>()
      const ended = yield* Queue.unbounded<string>()
      const until = (name: string) =>
        Effect.andThen(
          Queue.offer(begun, name),
          Effect.onInterrupt(Effect.as(Effect.never, {}), () => Queue.offer(ended, name))
        )
      const handlers = {
        One: GrpcServer.unary(() => until("One")),
        Down: GrpcServer.serverStream(() => Stream.concat(Stream.make({}), Stream.fromEffect(until("Down")))),
        Up: GrpcServer.clientStream((requests) => Effect.andThen(Stream.runDrain(requests), until("Up"))),
        Both: GrpcServer.bidi(() => Stream.fromEffect(until("Both")))
      }
      yield* Effect.gen(function*() {
        const channel = yield* connect()
        const calls = {
          One: channel.unary("test.Notes/One", {}),
          Up: channel.clientStream("test.Notes/Up", Stream.make({})),
          Down: Stream.runDrain(channel.serverStream("test.Notes/Down", {})),
          Both: Stream.runDrain(channel.bidi("test.Notes/Both", Stream.never))
        }
        for (const [name, call] of Object.entries(calls)) {
          const calling = yield* Effect.forkChild(call)
          assert.strictEqual(yield* Queue.take(begun), name)
          yield* Fiber.interrupt(calling)
          assert.strictEqual(yield* Queue.take(ended), name)
        }
        // a stream that is stopped early
        yield* Stream.runDrain(Stream.take(channel.serverStream("test.Notes/Down", {}), 1))
        assert.strictEqual(yield* Queue.take(ended), "Down")
      }).pipe(leavesNothing, Effect.provide(answering(handlers)))
    }))

  it.effect("cancels a call whose stream of requests fails", () =>
    Effect.gen(function*() {
      const ended = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
      const Up = GrpcServer.clientStream((requests) =>
        Effect.onExit(Effect.as(Stream.runDrain(requests), {}), (exit) => Deferred.succeed(ended, exit))
      )
      yield* Effect.gen(function*() {
        const channel = yield* connect()
        const requests = Stream.concat(Stream.make({}), Stream.fail("no more" as const))
        assert.strictEqual(yield* Effect.flip(channel.clientStream("test.Notes/Up", requests)), "no more")
        assert.isTrue(Exit.hasInterrupts(yield* Deferred.await(ended)))
      }).pipe(leavesNothing, Effect.provide(answering({ Up })))
    }))

  it.effect("holds a handler's stream back while nobody reads", () => {
    let given = 0
    const text = "x".repeat(10_000)
    const Down = GrpcServer.serverStream(() =>
      Stream.map(Stream.rechunk(Stream.range(1, 1000), 1), (number) => {
        given = number
        return { number, text }
      })
    )
    return Effect.gen(function*() {
      const channel = yield* connect()
      const call = yield* channel.open("test.Notes/Down")
      yield* call.send({})
      yield* call.completeSend
      yield* call.receive
      for (let turns = 0; turns < 1000; turns++) yield* Effect.yieldNow
      assert.isBelow(given, 100)
      assert.strictEqual(yield* Stream.runCount(call.messages), 999)
    }).pipe(leavesNothing, Effect.provide(answering({ Down })))
  })

  it.effect("retries as the service config says", () => {
    let calls = 0
    const One = GrpcServer.unary(() =>
      ++calls < 3 ? Effect.fail(new Unavailable({ message: "later" })) : Effect.succeed({ number: calls })
    )
    return Effect.gen(function*() {
      const channel = yield* connect({
        serviceConfig: {
          methods: [{
            names: ["test.Notes"],
            retry: {
              maxAttempts: 4,
              initialBackoff: "1 second",
              maxBackoff: "10 seconds",
              backoffMultiplier: 2,
              retryableStatuses: ["Unavailable"]
            }
          }]
        }
      })
      const calling = yield* Effect.forkChild(channel.unary("test.Notes/One", {}))
      yield* TestClock.adjust("10 seconds")
      assert.deepInclude(yield* Fiber.join(calling), { number: 3 })
    }).pipe(leavesNothing, Effect.provide(answering({ One })))
  })

  it.effect("keeps to limits, compresses, and runs middleware", () => {
    const wrapped: Array<string> = []
    return Effect.gen(function*() {
      const channel = yield* connect({
        compression: "gzip",
        maxReceiveSize: 1000,
        middleware: [{
          effect: (call, { method }) => Effect.ensuring(call, Effect.sync(() => void wrapped.push(method)))
        }]
      })
      assert.deepInclude(yield* channel.unary("test.Notes/One", { text: "x" }), { text: "x!" })
      const large = channel.unary("test.Notes/One", { text: "x".repeat(1000) })
      assert.strictEqual((yield* reasonOf(large))["_tag"], "ResourceExhausted")
      assert.deepStrictEqual(wrapped, ["test.Notes/One", "test.Notes/One"])
    }).pipe(leavesNothing, Effect.provide(Echo))
  })

  it.effect("tells of its health and its schema", () =>
    Effect.gen(function*() {
      const channel = yield* connect({ schema: GrpcSchema.fromReflection() })
      assert.deepInclude(yield* channel.unary("test.Notes/One", { text: "hi" }), { text: "hi!" })
      assert.strictEqual(yield* channel.health("test.Notes"), "SERVING")
      assert.strictEqual((yield* reasonOf(channel.health("none")))["_tag"], "NotFound")
    }).pipe(leavesNothing, Effect.provide(Echo)))

  it.effect("is ready until its scope ends, which cancels its calls", () =>
    Effect.gen(function*() {
      const states = yield* Queue.unbounded<string>()
      const error = yield* Effect.gen(function*() {
        const calling = yield* Effect.scoped(Effect.gen(function*() {
          const channel = yield* connect({ url: "https://notes.test", tls: { ca: "/no/such/file" } })
          yield* Effect.forkDetach(Stream.runForEach(channel.state, (state) => Queue.offer(states, state)))
          assert.strictEqual(yield* Queue.take(states), "ready")
          return yield* Effect.forkDetach(reasonOf(channel.unary("test.Notes/One", {})), { startImmediately: true })
        }))
        return yield* Fiber.join(calling)
      }).pipe(Effect.provide(answering({ One: GrpcServer.unary(() => Effect.never) })))
      assert.deepInclude(error, { _tag: "Cancelled", message: "the channel was closed" })
      assert.strictEqual(yield* Queue.take(states), "shutdown")
    }))

  it.effect("fails to connect where it is told to, and where a URL makes no sense", () => {
    const Test = Grpc.layerTest({
      services: [],
      connect: (url) => url.includes("down") ? Effect.fail(new Refused({ address: "down.test:80" })) : Effect.void
    })
    return Effect.gen(function*() {
      const error = yield* Effect.flip(connect({ url: "http://down.test" }))
      assert.deepInclude(error, { _tag: "DialError", target: "down.test:80", hop: "direct" })
      assert.strictEqual((yield* reasonOf(connect({ url: "ftp://up.test" })))["_tag"], "InvalidTarget")
      yield* connect({ url: "http://up.test" })
    }).pipe(Effect.scoped, Effect.provide(Test))
  })

  it.effect("says when the layer is built that a service does not fit its definition", () =>
    Effect.gen(function*() {
      const Test = Grpc.layerTest({ services: [GrpcServer.service(schema, "test.Notes", { One: echo.One })] })
      const error = yield* Effect.flip(Effect.provide(Grpc.Grpc, Test))
      assert.strictEqual(error.reason._tag, "UnhandledMethod")
    }))

  it.effect("interrupts handlers when the layer goes, and gives them what they need", () => {
    class Name extends Context.Service<Name, string>()("test/Name") {}
    return Effect.gen(function*() {
      const ended = yield* Deferred.make<string>()
      const begun = yield* Deferred.make<void>()
      const One = GrpcServer.unary(() =>
        Effect.andThen(
          Deferred.succeed(begun, undefined),
          Effect.onInterrupt(Effect.as(Effect.never, {}), () =>
            Effect.flatMap(Name, (name) => Deferred.succeed(ended, name)))
        )
      )
      const Test: Layer.Layer<Grpc.Grpc, unknown, Name> = answering({ One })
      yield* Effect.gen(function*() {
        const channel = yield* connect()
        yield* Effect.forkDetach(channel.unary("test.Notes/One", {}))
        yield* Deferred.await(begun)
      }).pipe(Effect.provide(Test))
      assert.strictEqual(yield* Deferred.await(ended), "ann")
    }).pipe(Effect.scoped, Effect.provideService(Name, "ann"))
  })

  it.effect("opens no socket", () => {
    const sockets = () => process.getActiveResourcesInfo().filter((kind) => /TCP|Pipe/.test(kind)).length
    const before = sockets()
    return Effect.gen(function*() {
      const channel = yield* connect()
      yield* channel.unary("test.Notes/One", {})
      assert.strictEqual(sockets(), before)
    }).pipe(Effect.scoped, Effect.provide(Echo))
  })
})

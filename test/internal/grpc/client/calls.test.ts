import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import type { Duplex } from "node:stream"
import { type EventInput, EventSink } from "../../../../src/internal/events.ts"
import * as Dialer from "../../../../src/services/Dialer.ts"
import * as Grpc from "../../../../src/services/Grpc.ts"
import * as GrpcSchema from "../../../../src/services/GrpcSchema.ts"
import * as Listener from "../../../../src/services/Listener.ts"
import * as TestNetwork from "../../../../src/testing/TestNetwork.ts"
import { greeterProto, grpcInjector, grpcServer } from "../../../support/greeter.ts"
import { leavesNothing } from "../../../support/leaks.ts"
import { turn } from "../../../support/scripted.ts"

const connect = (url: string) =>
  Grpc.Grpc.use((grpc) => grpc.connect({ url, schema: GrpcSchema.fromFile(greeterProto) })).pipe(
    Effect.provide(Grpc.layer)
  )

const hello = "greeter.v1.Greeter/SayHello"

/** A Dialer that keeps what it has dialled. */
const recording = Effect.map(Effect.service(Dialer.Dialer), (below) => {
  const dialled: Array<Duplex> = []
  const dialer = Dialer.Dialer.of({
    ...below,
    dial: (target, options) =>
      Effect.tap(below.dial(target, options), (duplex) => Effect.sync(() => dialled.push(duplex)))
  })
  return { dialled, dialer }
})

describe("calls", () => {
  it.live("dials each connection once and closes it with the channel", () =>
    leavesNothing(
      Effect.gen(function*() {
        const { port } = yield* grpcServer()
        const { dialled, dialer } = yield* recording
        const scope = yield* Scope.make()
        const channel = yield* connect(`http://127.0.0.1:${port}`).pipe(
          Effect.provideService(Dialer.Dialer, dialer),
          Scope.provide(scope)
        )
        yield* channel.unary(hello, {})
        assert.strictEqual(dialled.length, 1)
        dialled[0]?.destroy()
        // the next call makes a new connection, or is told that the old one is gone
        yield* Effect.retry(channel.unary(hello, {}), { while: (error) => error._tag === "GrpcError" })
        assert.strictEqual(dialled.length, 2)
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(dialled.map((duplex) => duplex.destroyed), [true, true])
      }).pipe(Effect.provide(Dialer.layer))
    ))

  it.live("reports connections and calls as events", () =>
    leavesNothing(
      Effect.gen(function*() {
        const events: Array<EventInput> = []
        const { port } = yield* grpcServer()
        yield* connect(`http://127.0.0.1:${port}`).pipe(
          Effect.flatMap((channel) =>
            Effect.andThen(
              channel.unary(hello, { name: "not for the log" }),
              Effect.ignore(channel.unary("greeter.v1.Greeter/Fail", { code: 5 }))
            )
          ),
          Effect.scoped,
          Effect.provideService(EventSink, (event) => void (event.source === "grpc" && events.push(event)))
        )
        const target = `127.0.0.1:${port}`
        while (events.length < 6) yield* turn
        assert.deepStrictEqual(events.map(({ detail, event, id }) => [id, event, detail]), [
          [target, "connected", target],
          [target, "called", hello],
          [target, "ended", `${hello} OK`],
          [target, "called", "greeter.v1.Greeter/Fail"],
          [target, "ended", "greeter.v1.Greeter/Fail NotFound"],
          [target, "disconnected", target]
        ])
      }).pipe(Effect.provide(Dialer.layer))
    ))

  it.effect("keeps a call's timeout by the program's clock", () =>
    leavesNothing(
      Effect.gen(function*() {
        const { inject, seen } = yield* grpcInjector()
        const { accept } = yield* Listener.Listener.use((listener) => listener.bind({ host: "greeter", port: 50051 }))
        yield* Effect.forkScoped(Effect.andThen(accept, (duplex) => Effect.sync(() => inject(duplex))))
        const channel = yield* connect("http://greeter:50051")
        const fiber = yield* Effect.forkChild(
          Effect.flip(channel.unary("greeter.v1.Greeter/Wait", {}, { timeout: "1 hour" }))
        )
        while (seen.metadata === undefined) yield* turn
        yield* TestClock.adjust("1 hour")
        const error = yield* Fiber.join(fiber)
        assert(error._tag === "GrpcError")
        assert.strictEqual(error.reason._tag, "DeadlineExceeded")
        while (seen.cancelled === 0) yield* turn
      }).pipe(Effect.provide(TestNetwork.layer()))
    ))
})

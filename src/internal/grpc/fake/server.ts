import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import * as Http2 from "node:http2"
import { Unavailable } from "../../../errors/GrpcError.ts"
import type { Call, CallConnection, CallSettings } from "../server/call.ts"
import { dispatch } from "../server/dispatch.ts"
import type { OnError } from "../server/failure.ts"
import type { Implemented } from "../server/implement.ts"
import { Reporter } from "../server/observe.ts"
import { type Extras, offer } from "../server/offer.ts"
import type { Routes } from "../server/route.ts"
import type { OutgoingHeaders } from "../wire/metadata.ts"
import { FakeClientStream, rawOf } from "./streams.ts"

const { NGHTTP2_REFUSED_STREAM } = Http2.constants

const over = new Unavailable({ message: "the layer of the handlers is closed" })

/** What a server has between HTTP/2 and its handlers, without the HTTP/2. */
export class FakeServer implements CallConnection {
  readonly id = "grpc-test"
  readonly peer = Option.none()
  readonly peerName = undefined
  readonly tls = Option.none()
  private readonly settings: CallSettings
  private readonly routes: Routes
  private readonly calls = new Set<Call>()
  private streams = 0
  private closed = false

  constructor(settings: CallSettings, routes: Routes) {
    this.settings = settings
    this.routes = routes
  }

  /** Takes a call, and gives the client's end of it. */
  request(headers: OutgoingHeaders): FakeClientStream {
    const [client, server] = FakeClientStream.ends(++this.streams)
    process.nextTick(() => {
      if (this.closed) return server.close(NGHTTP2_REFUSED_STREAM)
      dispatch(this.settings, this, this.routes, server, headers, rawOf(headers))
    })
    return client
  }

  begun(call: Call): void {
    this.calls.add(call)
  }

  ended(call: Call): void {
    this.calls.delete(call)
  }

  onSend(): void {}

  /** Ends the calls that are under way, and waits for what their handlers still have to do. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    this.closed = true
    const fibers = [...this.calls].flatMap(({ running }) => running ?? [])
    for (const call of this.calls) call.refuse(over)
    return Fiber.awaitAll(fibers)
  })
}

/** Has the handlers of services take calls for as long as the scope lives. */
export const make = Effect.fnUntraced(function*(
  services: ReadonlyArray<Implemented>,
  extras: Extras,
  onError: OnError | undefined
): Effect.fn.Return<FakeServer, never, Scope.Scope> {
  const context = Context.omit(Tracer.ParentSpan, Scope.Scope)(yield* Effect.context())
  const { health, routes } = yield* offer(services, extras)
  const traced = yield* Effect.withFiber((fiber) => Effect.succeed(fiber.cache.tracer !== undefined))
  const settings: CallSettings = {
    context,
    clock: Context.get(context, Clock.Clock),
    reporter: new Reporter(context),
    traced,
    maxReceiveSize: 4 * 1024 * 1024,
    maxSendSize: 2 ** 31 - 1,
    compression: "identity",
    onError
  }
  return yield* Effect.acquireRelease(
    Effect.sync(() => new FakeServer(settings, routes)),
    (server) => Effect.andThen(health.drain, server.close)
  )
})

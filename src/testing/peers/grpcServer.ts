/**
 * A peer that serves gRPC and tells what it was called for.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import { cast } from "effect/Function"
import * as Layer from "effect/Layer"
import { formatHost, isHostPort } from "effect/net/Host"
import { formatSocketAddress, isUnixPathAddress, type SocketAddress } from "effect/net/NetAddress"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Metadata } from "../../errors/GrpcError.ts"
import type { GrpcSchemaError } from "../../errors/GrpcSchemaError.ts"
import type { TcpError } from "../../errors/TcpError.ts"
import type { TlsConfigError } from "../../errors/TlsConfigError.ts"
import type { Implementation, ServerCall } from "../../internal/grpc/server/handler.ts"
import type { DialTarget } from "../../internal/net/target.ts"
import * as GrpcServer from "../../services/GrpcServer.ts"
import * as Listener from "../../services/Listener.ts"

type AnyService = GrpcServer.Service<unknown, unknown>

type NeedsOf<S> = S extends GrpcServer.Service<infer _E, infer R> ? R : never

/**
 * What to serve, and how: the options of `GrpcServer.layer`, but one `address`, and calls under way end at once with the scope
 * unless `drainTimeout` says otherwise.
 *
 * @category models
 * @since 0.1.0
 */
export interface GrpcServerOptions<Services extends ReadonlyArray<AnyService> = ReadonlyArray<AnyService>>
  extends Omit<GrpcServer.Options<Services>, "host" | "port" | "path" | "mode">
{
  /** Where to listen. Default `"127.0.0.1:0"`: a port of this host that the network chooses. */
  readonly address?: DialTarget | undefined
}

/**
 * A call that came to a handler.
 *
 * @category models
 * @since 0.1.0
 */
export interface GrpcPeerCall {
  /** `"acme.Orders/Create"`. */
  readonly method: string
  /** What the client sent with the call. */
  readonly metadata: Metadata
  /** The messages that the handler got, in their order; of a stream those that it has read. */
  readonly requests: ReadonlyArray<unknown>
  /** How the handler ended, as soon as it has: interrupted where the client cancelled the call or its time was up. */
  readonly exit: Option.Option<Exit.Exit<unknown, unknown>>
}

/**
 * A gRPC server that is running.
 *
 * @category models
 * @since 0.1.0
 */
export interface GrpcPeer {
  /** Where it listens, with the real port. */
  readonly address: SocketAddress
  /** What `Grpc.connect` takes: `"http://127.0.0.1:41843"`. */
  readonly url: string
  /** The calls until now, oldest first; not those of methods that nobody handles. */
  readonly calls: Effect.Effect<ReadonlyArray<GrpcPeerCall>>
  /** What health checks are told of a service from now on; see `GrpcServer`. */
  readonly setHealth: GrpcServer.GrpcServer["Service"]["setHealth"]
}

/**
 * A handler that answers its first call with the first answer, the next one with the next, and all further ones with the last.
 * Answers are what such a handler gives: Effects, or Streams where the method answers with a stream. It counts from when
 * it was made.
 *
 * **Example** (A method that is not available at first)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { GrpcError, GrpcServer } from "hawser"
 * import { TestPeers } from "hawser/testing"
 *
 * const get = GrpcServer.unary(TestPeers.inTurn(
 *   Effect.fail(new GrpcError.Unavailable({ message: "starting" })),
 *   Effect.succeed({ id: 1n, customer: "ann" })
 * ))
 * ```
 *
 * @category peers
 * @since 0.1.0
 */
export const inTurn = <const Answers extends readonly [unknown, ...ReadonlyArray<unknown>]>(
  ...answers: Answers
): () => Answers[number] => {
  let calls = 0
  return () => answers[Math.min(calls++, answers.length - 1)]
}

interface Call extends GrpcPeerCall {
  readonly requests: Array<unknown>
  exit: GrpcPeerCall["exit"]
}

/** The same method, each call of which is written down. */
const recorded = (calls: Array<Call>, { definition, handler }: Implementation): Implementation => {
  const { kind } = definition
  const handle: (input: unknown, call: ServerCall) => unknown = cast(handler)
  const begin = ({ metadata, method }: ServerCall) => {
    const entry: Call = { method, metadata, requests: [], exit: Option.none() }
    calls.push(entry)
    return entry
  }
  /** What the handler is given in place of its input. */
  const seen = (entry: Call, input: unknown): unknown => {
    if (kind === "clientStream" || kind === "bidi") {
      const note = (request: unknown) => Effect.sync(() => void entry.requests.push(request))
      return Stream.tap(cast<unknown, Stream.Stream<unknown>>(input), note)
    }
    entry.requests.push(input)
    return input
  }
  const ended = (entry: Call) => (exit: Exit.Exit<unknown, unknown>) =>
    Effect.sync(() => void (entry.exit = Option.some(exit)))
  return {
    definition,
    handler: (input: unknown, call: ServerCall) => {
      const entry = begin(call)
      const handled = () => handle(seen(entry, input), call)
      return kind === "unary" || kind === "clientStream"
        ? Effect.onExit(Effect.suspend(() => cast<unknown, Effect.Effect<unknown>>(handled())), ended(entry))
        : Stream.onExit(Stream.suspend(() => cast<unknown, Stream.Stream<unknown>>(handled())), ended(entry))
    }
  }
}

const placeOf = (address: DialTarget) =>
  Effect.map(
    Listener.parseAddress(address),
    (target) => isHostPort(target) ? { host: formatHost(target.host), port: target.port } : { path: target.path }
  )

const urlOf = (address: SocketAddress, secure: boolean) =>
  isUnixPathAddress(address)
    ? `unix:${address.path}`
    : `${secure ? "https" : "http"}://${formatSocketAddress(address)}`

/**
 * A gRPC server for as long as the scope lives: `GrpcServer` with one line to start it, which writes down each call.
 *
 * Errors: as `GrpcServer.layer`.
 *
 * **Example** (What a client calls, and what it is answered)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Grpc, GrpcSchema, GrpcServer } from "hawser"
 * import { TestPeers } from "hawser/testing"
 *
 * const schema = GrpcSchema.fromFile("protos/orders.proto")
 *
 * const test = Effect.scoped(Effect.gen(function*() {
 *   const get = GrpcServer.unary(() => Effect.succeed({ customer: "ann" }))
 *   const server = yield* TestPeers.grpcServer({ services: [GrpcServer.partial(schema, "acme.Orders", { Get: get })] })
 *   const grpc = yield* Grpc.Grpc
 *   const channel = yield* grpc.connect({ url: server.url, schema })
 *   yield* channel.unary("acme.Orders/Get", { id: 1n })
 *   const [call] = yield* server.calls
 *   return call?.requests // [{ id: 1n }]
 * }))
 * ```
 *
 * @category peers
 * @since 0.1.0
 */
export const grpcServer: <const Services extends ReadonlyArray<AnyService>>(
  options: GrpcServerOptions<Services>
) => Effect.Effect<
  GrpcPeer,
  TcpError | TlsConfigError | GrpcSchemaError,
  Listener.Listener | Scope.Scope | NeedsOf<Services[number]>
> = Effect.fn("TestPeers.grpcServer")(
  function*<const Services extends ReadonlyArray<AnyService>>(options: GrpcServerOptions<Services>) {
    const { address = "127.0.0.1:0", ...others } = options
    const calls: Array<Call> = []
    const services = options.services.map((service) => ({
      ...service,
      implemented: Effect.map(service.implemented, (implemented) => ({
        ...implemented,
        implementations: implemented.implementations.map((implementation) => recorded(calls, implementation))
      }))
    }))
    // the same services, as far as types can tell
    const serving: GrpcServer.Options<Services> = cast({
      drainTimeout: 0,
      ...others,
      services,
      ...yield* placeOf(address)
    })
    const server = Context.get(yield* Layer.build(GrpcServer.layer(serving)), GrpcServer.GrpcServer)
    const peer: GrpcPeer = {
      address: server.address,
      url: urlOf(server.address, options.tls !== undefined),
      calls: Effect.sync(() =>
        calls.map(({ exit, metadata, method, requests }) => ({ method, metadata, requests: [...requests], exit }))
      ),
      setHealth: server.setHealth
    }
    return peer
  }
)

import * as Grpc from "@grpc/grpc-js"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Scope from "effect/Scope"
import type { Socket } from "node:net"
import type { Duplex } from "node:stream"
import { ConnectTimeout, DialError, type DialErrorReason, Unknown } from "../../errors/DialError.ts"
import { EventSink } from "../events.ts"
import { destroyWhenFlushed } from "../net/duplex.ts"
import type * as Hop from "../net/hop.ts"
import * as Target from "../net/target.ts"
import * as GrpcRelay from "./relay.ts"
import type { Attempt, Run } from "./relay.ts"

/** What is connected to, and how. */
export interface Settings {
  /** The way there, TLS included where it is wanted: what comes out carries HTTP/2. */
  readonly path: Hop.Path
  readonly target: Target.Target
  /** What requests carry as `:authority`. */
  readonly authority: string
  /** Whether requests say `:scheme` https. */
  readonly secure: boolean
  /** For the path and the first HTTP/2 frame of the server together. */
  readonly connectTimeout: Duration.Duration
  readonly options: Grpc.ChannelOptions
}

/** A channel of grpc-js that dials through our path, connects again by itself and is closed by the scope. */
export interface Transport {
  readonly channel: Grpc.ChannelInterface
  /** Why the last attempt to connect failed, until one succeeds. */
  readonly dialFailure: () => DialError | undefined
  /** Calls that are under way; closing the scope cancels them. */
  readonly calls: Set<Grpc.experimental.CallStream>
  /** Tells the event sink. */
  readonly report: (event: string, detail: string) => void
}

/**
 * How grpc-js gets our connections. `"connector"` puts them where it makes its own, by names that are private to the
 * pinned version; `"relay"` uses public options only, at the price of copying every byte. The default looks whether the
 * names are there.
 */
export const Route = Context.Reference<"connector" | "relay">("hawser/internal/grpcTransport/Route", {
  defaultValue: () => hasConnectors() ? "connector" : "relay"
})

interface Connector {
  connect: (...args: ReadonlyArray<unknown>) => Promise<unknown>
  tcpConnect: (...args: ReadonlyArray<unknown>) => Promise<Duplex>
}

interface SubchannelPool {
  getOrCreateSubchannel: (...args: ReadonlyArray<unknown>) => unknown
}

const hasMethod = (value: unknown, name: string): boolean =>
  Predicate.hasProperty(value, name) && typeof value[name] === "function"

const property = (value: unknown, name: string): unknown => Predicate.hasProperty(value, name) ? value[name] : undefined

/** Whether this looks like the subchannel pool of the pinned version. */
const isPool = (value: unknown): value is SubchannelPool => hasMethod(value, "getOrCreateSubchannel")

/** Whether this looks like what connects a subchannel in the pinned version. */
const isConnector = (value: unknown): value is Connector =>
  hasMethod(value, "connect") && hasMethod(value, "tcpConnect")

const poolOf = (channel: Grpc.ChannelInterface): SubchannelPool | undefined => {
  const pool = property(property(channel, "internalChannel"), "subchannelPool")
  return isPool(pool) ? pool : undefined
}

/** Whether a channel of this grpc-js has the names that the connector route needs. Nothing is connected. */
export const hasConnectors = (): boolean => {
  const credentials = Grpc.credentials.createInsecure()
  const channel = new Grpc.Channel("unix:probe", credentials, channelOptions)
  const pool = poolOf(channel)
  const subchannel = Option.liftThrowable(() =>
    pool?.getOrCreateSubchannel({ scheme: "unix", path: "probe" }, { path: "probe" }, {}, credentials)
  )()
  channel.close()
  return isConnector(property(Option.getOrUndefined(subchannel), "connector"))
}

const channelOptions: Grpc.ChannelOptions = {
  // the environment must not choose another way than the Dialer
  "grpc.enable_http_proxy": 0,
  "grpc.use_local_subchannel_pool": 1,
  // its registry outlives channels
  "grpc.enable_channelz": 0
}

/** Credentials for a connection that is already what it should be: encrypted and verified, or plain. */
class DialledCredentials extends Grpc.ChannelCredentials {
  private readonly secure: boolean
  constructor(secure: boolean) {
    super()
    this.secure = secure
  }
  override _isSecure(): boolean {
    return this.secure
  }
  override _equals(other: Grpc.ChannelCredentials): boolean {
    return other === this
  }
  override _createSecureConnector(
    _target: unknown,
    _options: unknown,
    callCredentials: Grpc.CallCredentials = Grpc.credentials.createEmpty()
  ): Grpc.experimental.SecureConnector {
    return {
      connect: (socket) => Promise.resolve({ socket, secure: this.secure }),
      waitForReady: () => Promise.resolve(),
      getCallCredentials: () => callCredentials,
      destroy: () => {}
    }
  }
}

/** grpc-js calls this on what it takes for a socket of `node:net`. */
const asSocket = (duplex: Duplex): Duplex => {
  const socket = duplex as Duplex & Partial<Pick<Socket, "setNoDelay">>
  if (socket.setNoDelay === undefined) Object.assign(socket, { setNoDelay: () => socket })
  return socket
}

// grpc-js rejects with errors, with strings and with nothing
const detailOf = (cause: unknown) =>
  cause instanceof Error ? cause.message : typeof cause === "string" ? cause : "the connection ended"

/** Puts our connections where the channel makes its own. */
const useConnector = (channel: Grpc.ChannelInterface, attempt: Attempt, run: Run) => {
  const pool = poolOf(channel)!
  const create = pool.getOrCreateSubchannel.bind(pool)
  const ours = new WeakSet<Connector>()
  pool.getOrCreateSubchannel = (...args) => {
    const subchannel = create(...args)
    const connector = property(subchannel, "connector")
    if (isConnector(connector) && !ours.has(connector)) {
      ours.add(connector)
      const connect = connector.connect.bind(connector)
      connector.connect = (...args) =>
        run(attempt((duplex) =>
          Effect.tryPromise({
            try: () => {
              // a connector makes one connection at a time
              connector.tcpConnect = () => Promise.resolve(asSocket(duplex))
              return connect(...args)
            },
            catch: (cause) => new Unknown({ detail: `no HTTP/2: ${detailOf(cause)}`, cause })
          })
        ))
    }
    return subchannel
  }
}

/**
 * Opens a channel and waits for its first connection.
 */
export const open = Effect.fnUntraced(function*(
  settings: Settings
): Effect.fn.Return<Transport, DialError, Scope.Scope> {
  const { connectTimeout, path, target } = settings
  const route = yield* Route
  const sink = yield* EventSink
  const id = Target.format(target)
  const report = (event: string, detail: string) => sink({ source: "grpc", id, event, detail })

  // closed in the reverse order: calls and the channel, attempts under way, connections
  const connections = yield* Scope.fork(yield* Effect.scope)
  const run = yield* FiberSet.makeRuntimePromise()
  const calls = new Set<Grpc.experimental.CallStream>()
  const first = Deferred.makeUnsafe<void, DialError>()
  let failure: DialError | undefined

  const attempt: Attempt = (start) =>
    Effect.gen(function*() {
      const connection = yield* Scope.fork(connections)
      const fail = (reason: DialErrorReason) => new DialError({ target: id, hop: "http/2", reason })
      const began = yield* Clock.currentTimeMillis
      const [duplex, started] = yield* Effect.gen(function*() {
        const duplex = yield* path.dial(target, { connectTimeout })
        const elapsed = (yield* Clock.currentTimeMillis) - began
        const started = yield* start(duplex).pipe(
          Effect.mapError(fail),
          // grpc-js waits for ever for a peer that accepts and says nothing
          Effect.timeoutOrElse({
            duration: Duration.subtract(connectTimeout, Duration.millis(elapsed)),
            orElse: () =>
              Effect.fail(fail(new ConnectTimeout({ after: connectTimeout, phase: "the server's HTTP/2 settings" })))
          })
        )
        // HTTP/2 ends the stream itself, with what it has to say
        yield* Effect.addFinalizer(() => destroyWhenFlushed(duplex))
        return [duplex, started] as const
      }).pipe(
        Scope.provide(connection),
        Effect.onError((cause) => Scope.close(connection, Exit.failCause(cause)))
      )
      report("connected", settings.authority)
      const onClose = () => {
        report("disconnected", settings.authority)
        // fails when the channel is being closed, which closes the connection too
        run(Scope.close(connection, Exit.void)).catch(() => {})
      }
      if (duplex.closed) onClose()
      else duplex.once("close", onClose)
      return started
    }).pipe(
      Effect.onExit((exit) =>
        Effect.suspend(() => {
          failure = Exit.isSuccess(exit) ? undefined : Option.getOrUndefined(Cause.findErrorOption(exit.cause))
          if (failure !== undefined) report("failed", failure.message)
          return Deferred.done(first, Exit.asVoid(exit))
        })
      )
    )

  const relay = route === "relay" ? yield* GrpcRelay.listen(attempt, run, target) : undefined
  const channel = yield* Effect.acquireRelease(
    Effect.sync(() =>
      new Grpc.Channel(
        `unix:${relay ?? id}`,
        new DialledCredentials(settings.secure),
        { ...settings.options, ...channelOptions, "grpc.default_authority": settings.authority }
      )
    ),
    (channel) =>
      Effect.sync(() => {
        for (const call of calls) call.cancelWithStatus(Grpc.status.CANCELLED, "the channel was closed")
        channel.close()
      })
  )
  if (relay === undefined) useConnector(channel, attempt, run)
  channel.getConnectivityState(true)
  yield* Deferred.await(first)
  // grpc-js hears of it a little later, and must have what was connected before it can close it
  while (channel.getConnectivityState(false) === Grpc.connectivityState.CONNECTING) {
    yield* Effect.callback<void>((resume) =>
      channel.watchConnectivityState(Grpc.connectivityState.CONNECTING, Infinity, () => resume(Effect.void))
    )
  }
  return { channel, dialFailure: () => failure, calls, report }
})

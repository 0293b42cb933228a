import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Http2 from "node:http2"
import type { Duplex } from "node:stream"
import { ConnectTimeout, DialError, type DialErrorReason, Unknown } from "../../../errors/DialError.ts"
import { within } from "../../net/deadline.ts"
import { destroyWhenFlushed, scopedUnlessFailed } from "../../net/duplex.ts"
import type * as Hop from "../../net/hop.ts"
import type { KeepAlive, Watched } from "../../net/keepAlive.ts"
import * as Target from "../../net/target.ts"
import { tlsInfo } from "../../tls/info.ts"
import type { OutgoingHeaders } from "../wire/metadata.ts"
import { resetName } from "../wire/status.ts"
import type { ClientStream } from "../wire/streams.ts"

/** A call under way, as its connection knows it. */
export interface Call {
  /** Ends the call from our side. */
  readonly cancel: (message: string) => void
}

/** What calls are made on. */
export interface Carrier {
  readonly session: {
    readonly request: (headers: OutgoingHeaders) => ClientStream
    readonly closed: boolean
    readonly destroyed: boolean
  }
  /** Whether a call may be started on it now: it may have as many as the server allows. */
  readonly usable: () => boolean
  /** Why it takes no more calls; `undefined` while it does. */
  readonly endedBy: () => string | undefined
  /** A call has begun: it opens one stream and is under way until `ended`. */
  readonly opened: (call: Call) => void
  readonly ended: (call: Call) => void
}

/** One HTTP/2 session with a server. */
export interface Connection extends Carrier {
  readonly target: Target.Target
  /**
   * The same for calls of the channel's own: the server counts them, but they do not keep the connection from being idle,
   * and nobody waits for them to end.
   */
  readonly aside: () => Connection
  readonly calls: ReadonlySet<Call>
  /** Since when there is no call, in milliseconds of the clock; `undefined` while there are calls. */
  readonly idleSince: () => number | undefined
  /** Takes no more calls. Those under way finish, then it is `over`. */
  readonly retire: (why: string) => void
  /** Completes when it takes no more calls. */
  readonly retired: Effect.Effect<void>
  /** Completes when it takes no more calls and has none: it can be closed. */
  readonly over: Effect.Effect<void>
}

/** How connections are made. */
export interface Settings {
  /** The way to a target, TLS included where it is wanted: what comes out carries HTTP/2. */
  readonly path: Hop.Path
  /** For the path and the server's HTTP/2 settings together. */
  readonly connectTimeout: Duration.Duration
  /** How many bytes a server may send ahead of the reader: on a stream, and on a connection. */
  readonly flowControlWindow: number
}

/** Node wants one, but requests say themselves where they go. */
const unusedAuthority = "http://localhost"

/** A client has 2^30 numbers for its streams. */
const maxStreams = 1_000_000_000

const describe = (error: NodeJS.ErrnoException) =>
  error.code === "ERR_HTTP2_ERROR"
    ? `the server does not keep to HTTP/2 (${error.message})`
    : `the connection was lost: ${error.code ?? error.message}`

/** Why a peer may not speak HTTP/2, where TLS has asked it. */
const hint = (duplex: Duplex) => {
  const tls = tlsInfo(duplex)
  return tls === undefined || tls.alpn === "h2" ? "" : "; it did not choose h2 in the TLS handshake"
}

/** What a server gives as its reason, as part of a line that people read. */
const printable = (data: Uint8Array | undefined) =>
  data === undefined ? "" : Buffer.from(data).toString("latin1").replace(/[^\x21-\x7e]+/g, " ").trim()

class Http2Connection implements Connection {
  readonly session: Http2.ClientHttp2Session
  readonly target: Target.Target
  readonly calls = new Set<Call>()
  private readonly asides = new Set<Call>()
  private readonly clock: Clock.Clock
  private readonly isRetired = Deferred.makeUnsafe<void>()
  private readonly isOver = Deferred.makeUnsafe<void>()
  private reason: string | undefined
  private isGoing = false
  /** The error behind the reason, where there is one. */
  cause: Error | undefined
  private quietSince: number
  private streams = 0
  /** How many calls the server allows at a time. */
  private limit = Infinity
  private readonly onRoom: () => void

  readonly retired = Deferred.await(this.isRetired)
  readonly over = Deferred.await(this.isOver)

  constructor(
    session: Http2.ClientHttp2Session,
    target: Target.Target,
    clock: Clock.Clock,
    onRoom: () => void
  ) {
    this.session = session
    this.onRoom = onRoom
    this.target = target
    this.clock = clock
    this.quietSince = clock.currentTimeMillisUnsafe()
  }

  private get room() {
    return this.limit - this.calls.size - this.asides.size
  }

  readonly usable = () => this.reason === undefined && this.room > 0
  readonly endedBy = () => this.reason
  readonly idleSince = () => this.calls.size === 0 ? this.quietSince : undefined

  readonly opened = (call: Call) => {
    this.calls.add(call)
    if (++this.streams === maxStreams) this.retire("the connection has had as many calls as HTTP/2 allows")
  }

  readonly ended = (call: Call) => {
    if (!this.calls.delete(call)) return
    if (this.calls.size === 0) {
      this.quietSince = this.clock.currentTimeMillisUnsafe()
      if (this.reason !== undefined) Deferred.doneUnsafe(this.isOver, Exit.void)
    }
    if (this.room === 1) this.onRoom()
  }

  readonly aside = (): Connection => {
    const { aside, calls, endedBy, idleSince, over, retire, retired, session, target } = this
    return {
      session,
      target,
      endedBy,
      aside,
      calls,
      idleSince,
      retire,
      retired,
      over,
      // it may wait in the session for the others
      usable: () => this.reason === undefined,
      opened: (call) => void this.asides.add(call),
      ended: (call) => {
        if (this.asides.delete(call) && this.room === 1) this.onRoom()
      }
    }
  }

  /** The server says how many calls it allows at a time. */
  readonly allow = (limit: number) => {
    const hadRoom = this.usable()
    this.limit = limit
    if (!hadRoom && this.usable()) this.onRoom()
  }

  readonly retire = (why: string) => {
    if (this.reason === undefined) this.stop(why)
  }

  /** The other side ends it: that, and nothing that comes after it or that we had in mind, is why calls fail. */
  readonly goesAway = (why: string) => {
    if (this.isGoing) return
    this.isGoing = true
    this.stop(why)
  }

  /** It is gone, whatever calls there are. */
  readonly lost = (why: string, cause?: Error) => {
    this.cause ??= cause
    this.goesAway(why)
    Deferred.doneUnsafe(this.isOver, Exit.void)
  }

  private stop(why: string) {
    this.reason = why
    Deferred.doneUnsafe(this.isRetired, Exit.void)
    if (this.calls.size === 0) Deferred.doneUnsafe(this.isOver, Exit.void)
  }
}

/** Begins a session; why it ends is known before its streams hear of it. */
const begin = (
  duplex: Duplex,
  target: Target.Target,
  settings: Settings,
  keepAlive: KeepAlive | undefined,
  clock: Clock.Clock,
  onRoom: () => void
): Http2Connection => {
  const onError = (cause: NodeJS.ErrnoException) => connection.lost(describe(cause), cause)
  // before those of the session, which ends its streams in its own
  duplex
    .once("error", onError)
    .once("end", () => {
      connection.lost("the connection was lost: the server closed it")
      // the other direction is of no use
      session.destroy(undefined, Http2.constants.NGHTTP2_CANCEL)
    })
    .once("close", () => connection.lost("the connection was lost: it was closed"))
  const session = Http2.connect(unusedAuthority, {
    createConnection: () => duplex,
    settings: { enablePush: false, initialWindowSize: settings.flowControlWindow },
    // unless the server says less
    peerMaxConcurrentStreams: 0xffff_ffff,
    // its default of 10 MB refuses streams under load; what they hold is bounded by their windows
    maxSessionMemory: 0xffff_ffff,
    // the default of 128 is less than fits into the headers' default of 64 KiB
    maxHeaderListPairs: 2048
  })
  const connection = new Http2Connection(session, target, clock, onRoom)
  session
    .on("error", onError)
    .once("connect", () => {
      if (!session.destroyed) session.setLocalWindowSize(settings.flowControlWindow)
    })
    .on("remoteSettings", ({ maxConcurrentStreams }) => connection.allow(maxConcurrentStreams ?? Infinity))
    .on("goaway", (code, _lastStreamId, data) => {
      const words = printable(data)
      const why = `the server is going away (${resetName(code)})${words === "" ? "" : `: ${words}`}`
      if (code === Http2.constants.NGHTTP2_ENHANCE_YOUR_CALM && words === "too_many_pings") keepAlive?.slowDown()
      // at any other code the session destroys itself
      if (code === Http2.constants.NGHTTP2_NO_ERROR) connection.goesAway(why)
      else connection.lost(why)
    })
    .once("close", () => connection.lost("the connection was lost: it was closed"))
  return connection
}

/** The connection as keep-alive sees it. */
const watched = (connection: Http2Connection, duplex: Duplex & { readonly bytesRead?: number }): Watched => ({
  isInUse: () => connection.calls.size > 0,
  received: () => duplex.bytesRead,
  ping: (answered) => {
    if (connection.session.destroyed) return
    connection.session.ping((error) => {
      if (error === null) answered()
    })
  },
  dead: () => {
    connection.lost("keep-alive timeout")
    // nobody would take what the session has to say
    duplex.destroy()
  }
})

/** Completes when the server's settings have come, which are the first thing it says. */
const greeted = (connection: Http2Connection, duplex: Duplex): Effect.Effect<void, DialErrorReason> =>
  Effect.raceFirst(
    Effect.callback<void>((resume) => {
      const done = () => resume(Effect.void)
      connection.session.once("remoteSettings", done)
      return Effect.sync(() => void connection.session.off("remoteSettings", done))
    }),
    Effect.flatMap(connection.retired, () => {
      const { cause } = connection
      const detail = `no HTTP/2: ${connection.endedBy()}${hint(duplex)}`
      return Effect.fail(new Unknown({ detail, ...(cause === undefined ? {} : { cause }) }))
    })
  )

const close = ({ lost, session }: Http2Connection, duplex: Duplex): Effect.Effect<void> =>
  Effect.suspend(() => {
    lost("the connection was closed")
    // says so to the server, behind the ends of calls that were cancelled, and ends the stream
    session.close()
    return destroyWhenFlushed(duplex)
  })

/** A connection to a target that has said its HTTP/2 settings. It is closed by the scope. */
export const connect = (
  target: Target.Target,
  settings: Settings,
  keepAlive: KeepAlive | undefined,
  /** Is told when a connection that had all the calls that its server allows can take another one. */
  onRoom: () => void
): Effect.Effect<Connection, DialError, Scope.Scope> =>
  scopedUnlessFailed(Effect.clockWith((clock) => {
    const { connectTimeout, path } = settings
    const started = clock.currentTimeMillisUnsafe()
    const fail = (reason: DialErrorReason) => new DialError({ target: Target.format(target), hop: "http/2", reason })
    return Effect.gen(function*() {
      const duplex = yield* path.dial(target, { connectTimeout })
      const connection = yield* Effect.acquireRelease(
        Effect.sync(() => begin(duplex, target, settings, keepAlive, clock, onRoom)),
        (connection) => close(connection, duplex)
      )
      const elapsed = Duration.millis(clock.currentTimeMillisUnsafe() - started)
      yield* within(
        Effect.mapError(greeted(connection, duplex), fail),
        Duration.subtract(connectTimeout, elapsed),
        () => Effect.fail(fail(new ConnectTimeout({ after: connectTimeout, phase: "the server's HTTP/2 settings" })))
      )
      if (keepAlive !== undefined) {
        yield* Effect.acquireRelease(
          Effect.sync(() => keepAlive.watch(watched(connection, duplex))),
          (stop) => Effect.sync(stop)
        )
      }
      return connection
    })
  }))

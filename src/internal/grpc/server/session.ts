import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { formatSocketAddress, type SocketAddress } from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Http2 from "node:http2"
import type { Duplex } from "node:stream"
import { Unavailable } from "../../../errors/GrpcError.ts"
import { alarm } from "../../net/deadline.ts"
import { KeepAlive, type KeepAliveSettings } from "../../net/keepAlive.ts"
import { alarmAnyway } from "../../net/realTime.ts"
import { type TlsInfo, tlsInfo } from "../../tls/handshake.ts"
import type { RawHeaders } from "../wire/metadata.ts"
import type { Call, CallConnection, CallSettings } from "./call.ts"
import { dispatch } from "./dispatch.ts"
import type { Routes } from "./route.ts"

/** How often a client may ask whether we are there. */
export interface PingPolicy {
  readonly interval: Duration.Duration
  /** Whether it may ask as often while no call is under way. */
  readonly withoutCalls: boolean
}

/** What all connections of a server have in common. */
export interface SessionSettings extends CallSettings {
  readonly maxConcurrentStreams: number
  readonly flowControlWindow: number
  /** How long a client may take until its first frame. */
  readonly handshakeTimeout: Duration.Duration
  readonly keepAlive: KeepAliveSettings | undefined
  readonly pings: PingPolicy | undefined
  /** How old a connection may become, less or more by up to a tenth. */
  readonly maxAge: Duration.Duration | undefined
}

const { NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_NO_ERROR } = Http2.constants

/** How often a client may be too early with a ping, as for gRPC's other servers. */
const maxStrikes = 2

/** How long what was sent may take to leave when a connection is closed. */
const linger = Duration.seconds(2)

/** Without calls a client may ask only so often. */
const idlePingInterval = Duration.hours(2)

/** The highest number of a stream: none is refused yet. */
const lastStream = 2 ** 31 - 1

/** Tells a client that asks too often, as gRPC's other servers do. */
class PingCheck {
  private readonly policy: PingPolicy
  private readonly clock: Clock.Clock
  private strikes = 0
  private last = -Infinity
  /** Something was sent since the last ping. */
  private sent = false

  constructor(policy: PingPolicy, clock: Clock.Clock) {
    this.policy = policy
    this.clock = clock
  }

  onSend(): void {
    this.sent = true
  }

  /** Whether a ping that comes now is one too many. */
  isTooMany(hasCalls: boolean): boolean {
    const now = this.clock.currentTimeMillisUnsafe()
    const { last, policy } = this
    this.last = now
    if (this.sent) {
      this.sent = false
      this.strikes = 0
      return false
    }
    const least = hasCalls || policy.withoutCalls ? policy.interval : idlePingInterval
    if (now - last < Duration.toMillis(least)) this.strikes++
    return this.strikes > maxStrikes
  }
}

let sessions = 0

/** One HTTP/2 connection of a client. */
export class Session implements CallConnection {
  readonly id = `grpc-server-${++sessions}`
  readonly peer: Option.Option<SocketAddress>
  readonly peerName: string | undefined
  readonly tls: Option.Option<TlsInfo>
  private readonly calls = new Set<Call>()
  private readonly settings: SessionSettings
  private readonly session: Http2.ServerHttp2Session
  private readonly pings: PingCheck | undefined
  private readonly alarms = new Map<string, () => void>()
  private readonly duplex: Duplex
  private draining = false
  private why = "the client has gone"

  constructor(settings: SessionSettings, routes: Routes, duplex: Duplex, peer: Option.Option<SocketAddress>) {
    const { clock, pings } = settings
    this.settings = settings
    this.duplex = duplex
    this.peer = peer
    this.peerName = Option.getOrUndefined(Option.map(peer, formatSocketAddress))
    this.tls = Option.fromUndefinedOr(tlsInfo(duplex))
    this.pings = pings === undefined ? undefined : new PingCheck(pings, clock)
    // before the session's own: what happened is known when its streams hear of it, and the other direction is of no use
    duplex.once("end", () => this.session.destroy(undefined, NGHTTP2_CANCEL))
    const session = this.session = Http2.performServerHandshake(duplex, {
      settings: {
        maxConcurrentStreams: settings.maxConcurrentStreams,
        initialWindowSize: settings.flowControlWindow,
        enablePush: false
      },
      // what streams may hold is bounded by their number and their windows
      maxSessionMemory: 0xffff_ffff,
      // the default of 128 is less than fits into the headers' default of 64 KiB
      maxHeaderListPairs: 2048,
      // to cancel calls is everyday life
      streamResetBurst: 10_000,
      streamResetRate: 1000
    })
    settings.reporter.connected(this.id, this.peerName ?? "a client")
    session.on(
      "stream",
      (stream, headers, _flags, raw: RawHeaders) => dispatch(settings, this, routes, stream, headers, raw)
    )
    session.on("error", (error: Error) => void (this.why = error.message))
    if (this.pings !== undefined) session.on("ping", () => this.pinged())
    this.after("handshake", settings.handshakeTimeout, () => this.giveUp("it has not spoken HTTP/2 in time"))
    session.once("remoteSettings", () => this.opened())
  }

  private opened(): void {
    const { settings: { clock, flowControlWindow, keepAlive, maxAge }, session } = this
    this.stop("handshake")
    if (session.destroyed) return
    session.setLocalWindowSize(flowControlWindow)
    if (keepAlive !== undefined) {
      this.alarms.set(
        "keepAlive",
        new KeepAlive(keepAlive, clock).watch({
          isInUse: () => this.calls.size > 0,
          received: () => undefined,
          ping: (answered) => {
            if (!session.destroyed) session.ping(answered)
          },
          dead: () => this.giveUp("it does not answer pings")
        })
      )
    }
    if (maxAge !== undefined) {
      // so that those that came together do not go together
      const factor = 0.9 + Context.get(this.settings.context, Random.Random).nextDoubleUnsafe() / 5
      this.after("age", Duration.times(maxAge, factor), () => this.drain("it has become too old"))
    }
  }

  private after(name: string, duration: Duration.Duration, ring: () => void): void {
    this.alarms.set(name, alarm(this.settings.clock, duration, ring))
  }

  private stop(name: string): void {
    this.alarms.get(name)?.()
    this.alarms.delete(name)
  }

  onSend(): void {
    this.pings?.onSend()
  }

  private pinged(): void {
    if (this.pings?.isTooMany(this.calls.size > 0) !== true) return
    this.why = "it pinged too often"
    this.session.goaway(NGHTTP2_ENHANCE_YOUR_CALM, 0, Buffer.from("too_many_pings"))
    this.session.destroy()
  }

  /** A client from which nothing comes would not take what the session has to say either. */
  private giveUp(why: string): void {
    this.why = why
    this.duplex.destroy()
  }

  /**
   * Has the client open its next streams elsewhere. While calls are under way it is told so first, and only when it has
   * answered is it told which streams are the last: those that it has opened in the meantime are still served. Without
   * calls nghttp2 reads nothing more from who was told, also no answer; a stream that is on its way is refused, which the
   * client knows to try again elsewhere.
   */
  drain(why: string): void {
    const { session } = this
    if (this.draining || session.destroyed) return
    this.draining = true
    this.why = why
    if (this.calls.size === 0) return session.close()
    session.goaway(NGHTTP2_NO_ERROR, lastStream)
    session.ping(() => session.close())
  }

  begun(call: Call): void {
    this.calls.add(call)
  }

  ended(call: Call): void {
    this.calls.delete(call)
    if (this.draining && this.calls.size === 0) this.session.close()
  }

  /** Waits until this side, or the connection, is closed. */
  get end(): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const ended = () => {
        this.duplex.off("finish", ended).off("close", ended)
        resume(Effect.void)
      }
      this.duplex.once("finish", ended).once("close", ended)
      if (this.duplex.writableFinished || this.duplex.closed) ended()
    })
  }

  /** Ends the calls that are under way, waits for what their handlers still have to do, and closes the connection. */
  get close(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const fibers = [...this.calls].flatMap(({ running }) => running ?? [])
      for (const call of this.calls) call.refuse(shuttingDown)
      return Effect.andThen(Effect.andThen(Fiber.awaitAll(fibers), this.flushed), Effect.sync(() => this.closed()))
    })
  }

  /** Waits, but not long, until the client has what was sent to it. */
  private get flushed(): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const { duplex, session, settings } = this
      if (session.destroyed || duplex.destroyed) return resume(Effect.void)
      const stop = alarmAnyway(settings.clock, linger, () => duplex.destroy())
      const done = () => {
        stop()
        duplex.off("finish", done).off("close", done)
        resume(Effect.void)
      }
      duplex.once("finish", done).once("close", done)
      session.close()
    })
  }

  private closed(): void {
    for (const stop of this.alarms.values()) stop()
    this.alarms.clear()
    if (!this.session.destroyed) this.session.destroy()
    this.settings.reporter.disconnected(this.id, this.why)
  }
}

const stops = "the server stops"

const shuttingDown = new Unavailable({ message: "the server is shutting down" })

/** The connections of a server. */
export class Sessions {
  private readonly open = new Set<Session>()
  private stopping = false

  /** Serves a client until its connection is closed. */
  serve(
    settings: SessionSettings,
    routes: Routes,
    duplex: Duplex,
    peer: Option.Option<SocketAddress>
  ): Effect.Effect<void> {
    return Effect.acquireUseRelease(
      Effect.sync(() => {
        if (duplex.destroyed) return undefined
        const session = new Session(settings, routes, duplex, peer)
        this.open.add(session)
        if (this.stopping) session.drain(stops)
        return session
      }),
      (session) => session === undefined ? Effect.void : session.end,
      (session) => {
        if (session === undefined) return Effect.void
        this.open.delete(session)
        return session.close
      }
    )
  }

  /** Has all clients go elsewhere with their next calls. */
  drain(): void {
    this.stopping = true
    for (const session of this.open) session.drain(stops)
  }
}

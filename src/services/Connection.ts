/**
 * An open connection: bytes in, bytes out, in the order they were sent.
 *
 * `TcpClient.connect` and `TcpServer.serve` hand it out; `fromDuplex` makes one of any stream that a `Dialer` or a
 * `Listener` gave.
 *
 * **Details**
 *
 * - Nothing is read from the peer before somebody reads here or waits for `closed`. From then on at most 256 KiB are read ahead, more only
 *   while a read waits for more; the peer is held back by TCP's own flow control.
 * - No byte is ever lost. A read that fails, times out or is interrupted leaves what had arrived for the next one; bytes
 *   after a marker stay; what had arrived before a connection broke can still be read.
 * - There is one reader at a time: a second concurrent read fails with `ConcurrentRead`.
 * - A write is done when the stream has taken it and has room for more: a slow peer slows the writer.
 * - Every operation fails with `TcpError`. `Closed` means this side closed, `EndOfStream` that the peer ended, `Reset`
 *   that the connection broke. Sizes that are no whole numbers (`Infinity` is no limit) and empty markers are `Unknown`.
 *
 * **Gotchas**
 *
 * `reads` and `frames` take what has arrived in batches. Stop such a stream early and the rest of its last batch goes with
 * it: to take one thing at a time use `read`, `readFrame` and their kin.
 *
 * A server that goes on in TLS gives its go-ahead as the `reply` of `upgradeTls`. When it writes that itself before, the
 * client's handshake may be there before `upgradeTls` looks for bytes that were not read, and is refused as
 * `PlaintextBuffered`.
 *
 * **Example** (A request with a length in its answer)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { TcpClient } from "hawser"
 *
 * const get = Effect.fn(function*(key: string) {
 *   const tcp = yield* TcpClient.TcpClient
 *   const redis = yield* tcp.connect("127.0.0.1:6379")
 *   yield* redis.write(`GET ${key}\r\n`)
 *   const length = Number((yield* redis.readLine()).slice(1))
 *   return yield* redis.readExactly(length)
 * }, Effect.scoped)
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { formatSocketAddress, type SocketAddress } from "effect/net/NetAddress"
import * as Option from "effect/Option"
import type * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Sink from "effect/Sink"
import type * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import type { Duplex } from "node:stream"
import type { DialError } from "../errors/DialError.ts"
import { TcpError, WriteTimeout } from "../errors/TcpError.ts"
import type { TlsConfigError } from "../errors/TlsConfigError.ts"
import { Decoder } from "../internal/bytes/framing.ts"
import { Marker } from "../internal/bytes/markerSearch.ts"
import * as Text from "../internal/bytes/text.ts"
import { type CloseReason, ConnectionCore } from "../internal/connection.ts"
import { dropEvent, EventSink } from "../internal/events.ts"
import { within } from "../internal/net/deadline.ts"
import { addressOf, isClosedIn } from "../internal/net/duplex.ts"
import type { DialTarget } from "../internal/net/target.ts"
import * as Observe from "../internal/observe.ts"
import { runFrames } from "../internal/pushMode.ts"
import * as Reads from "../internal/reads.ts"
import * as EffectSocket from "../internal/socket.ts"
import { startTls } from "../internal/startTls.ts"
import * as TlsHandshake from "../internal/tls/handshake.ts"
import type { TlsOptions } from "../internal/tls/options.ts"
import * as Framing from "./Framing.ts"

/**
 * When a read is complete; see `Connection.read`.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReadOptions {
  /** Complete when this many bytes are there: exactly that many are given. Default: no such condition. */
  readonly maxSize?: number | undefined
  /** Complete when this has arrived: the bytes up to it and with it are given. A string is UTF-8. */
  readonly marker?: string | Uint8Array | undefined
  /** Fail with `ReadTimeout` after this long; what has arrived stays. Default: wait for as long as it takes. */
  readonly timeout?: Duration.Input | undefined
}

/**
 * How to upgrade a connection to TLS.
 *
 * @category models
 * @since 0.1.0
 */
export interface UpgradeOptions {
  /**
   * What a server says last in the clear, such as `"220 go ahead\r\n"`. Written here, it is said after the look for unread
   * bytes, so that the client's quick answer cannot be mistaken for an injection. Default: nothing.
   */
  readonly reply?: string | Uint8Array | undefined
  /** How long the handshake may take. Default 10 seconds. */
  readonly timeout?: Duration.Input | undefined
}

/**
 * An open connection.
 *
 * @category models
 * @since 0.1.0
 */
export interface Connection {
  /** Names the connection in logs; unique within the process. */
  readonly id: string
  /** Our end, where the stream has an address. */
  readonly localAddress: Option.Option<SocketAddress>
  /** What our end is connected to: the peer, or the first proxy on the way to it. */
  readonly remoteAddress: Option.Option<SocketAddress>
  /** What TLS agreed on, when the connection is encrypted. */
  readonly tls: Option.Option<TlsHandshake.TlsInfo>

  /**
   * Reads until the first of these is true: `marker` has arrived, `maxSize` bytes are there, the peer has ended (then
   * what is left is given). With neither marker nor maxSize: anything at all is there. A marker alone may be preceded by
   * at most 1 MiB. Errors: `EndOfStream` (ended with nothing left), `ReadTimeout`, `FrameTooLarge`, `Reset`, `Closed`,
   * `ConcurrentRead`.
   */
  readonly read: (options?: ReadOptions) => Effect.Effect<Uint8Array, TcpError>
  /** Reads what `read` does, as text. Default encoding UTF-8. Also fails with `Encoding`; the bytes then stay. */
  readonly readString: (
    options?: ReadOptions & { readonly encoding?: string | undefined }
  ) => Effect.Effect<string, TcpError>
  /** Everything that has arrived, at least one piece, without copying. */
  readonly readBatch: Effect.Effect<ReadonlyArray<Uint8Array>, TcpError>
  /** Exactly `count` bytes. `EndOfStream` when the peer ends before; the bytes that came stay. */
  readonly readExactly: (count: number) => Effect.Effect<Uint8Array, TcpError>
  /**
   * The bytes before the next `marker`, which is consumed, and given too with `includeMarker`. `maxSize` is the most that
   * may come before it, default 1 MiB, else `FrameTooLarge`. `EndOfStream` when the peer ends before.
   */
  readonly readUntil: (
    marker: string | Uint8Array,
    options?: { readonly maxSize?: number | undefined; readonly includeMarker?: boolean | undefined }
  ) => Effect.Effect<Uint8Array, TcpError>
  /** The next line, without its LF or CR LF. Default encoding UTF-8, default `maxSize` 1 MiB. Also fails with `Encoding`. */
  readonly readLine: (
    options?: { readonly encoding?: string | undefined; readonly maxSize?: number | undefined }
  ) => Effect.Effect<string, TcpError>
  /** The next frame. */
  readonly readFrame: <A>(framing: Framing.Framing<A>) => Effect.Effect<A, TcpError>
  /** What has arrived and was not read, without waiting: may be empty. Never fails, also after the connection broke. */
  readonly takeBuffered: Effect.Effect<Uint8Array>
  /** Puts bytes back, to be read first. */
  readonly unread: (bytes: Uint8Array) => Effect.Effect<void>
  /** What arrives, until the peer ends. */
  readonly reads: Stream.Stream<Uint8Array, TcpError>
  /** The frames that arrive, until the peer ends. */
  readonly frames: <A>(framing: Framing.Framing<A>) => Stream.Stream<A, TcpError>
  /**
   * Handles the frames that arrive, one after the other, until the peer ends: the fastest way to serve. Nothing more is
   * handled while a handler waits; what it does in the meantime may include reading from this connection. Answers to
   * frames that came together leave together. Fails as `readFrame` does, and with what a handler fails with.
   */
  readonly runFrames: <A, E, R>(
    framing: Framing.Framing<A>,
    handler: (frame: A) => Effect.Effect<unknown, E, R>
  ) => Effect.Effect<void, TcpError | E, R>
  /**
   * Gives all that arrives to `consumer`, until the peer ends: the fastest way to count, hash, search or pass on. The bytes
   * are only valid during the call, their memory is used again: copy what has to be kept. Fails with `Reset`, `Closed` or
   * `ConcurrentRead`; what `consumer` throws is a defect.
   */
  readonly consume: (consumer: (bytes: Uint8Array) => void) => Effect.Effect<void, TcpError>

  /**
   * Writes bytes, or text in UTF-8. Done when the stream has taken them and has room for more; fails with `WriteTimeout`
   * when that takes longer than `timeout` (the bytes may still be sent), `Reset` or `Closed`. Interruption does not take
   * back what was written.
   */
  readonly write: (
    data: Uint8Array | string,
    options?: { readonly timeout?: Duration.Input | undefined }
  ) => Effect.Effect<void, TcpError>
  /** Writes several pieces as one: they leave in as few packets as possible. */
  readonly writeAll: (pieces: ReadonlyArray<Uint8Array | string>) => Effect.Effect<void, TcpError>
  /** Writes text in an encoding; a character that the encoding lacks is an `Encoding` error and nothing is sent. */
  readonly writeString: (
    text: string,
    options?: { readonly encoding?: string | undefined; readonly timeout?: Duration.Input | undefined }
  ) => Effect.Effect<void, TcpError>
  /** Writes one frame. */
  readonly writeFrame: <A>(framing: Framing.Framing<A>, frame: A) => Effect.Effect<void, TcpError>
  /** Writes what it is fed. It leaves the connection open. */
  readonly writes: Sink.Sink<void, Uint8Array | string, never, TcpError>

  /**
   * Goes on in TLS on the same connection (STARTTLS), as the client of a connection that was dialled and as the server of
   * one that was accepted, and gives the encrypted connection; this one is then closed, whatever comes of it. What is
   * wrong with `tls` is a `TlsConfigError`, a failed handshake a `DialError` with reason `TlsHandshake`, one that takes too
   * long `ConnectTimeout`. Bytes that arrived and were not read before are refused: `TcpError`, reason `PlaintextBuffered`.
   */
  readonly upgradeTls: (
    tls?: TlsOptions,
    options?: UpgradeOptions
  ) => Effect.Effect<Connection, DialError | TcpError | TlsConfigError, Scope.Scope>
  /**
   * The connection as a socket of Effect's own (`effect/socket`), for programs that are written for those. As its
   * interface demands, the scope of its reader closes the connection.
   */
  readonly toSocket: Effect.Effect<Socket.Socket>

  /** Ends our side (half-close): the peer sees the end of the stream, and we can go on reading. */
  readonly closeWrite: Effect.Effect<void, TcpError>
  /** Stops reading: what is buffered and what still comes is dropped; later reads fail with `Closed`. */
  readonly closeRead: Effect.Effect<void>
  /** Closes the connection before its scope ends, after what was written has left. */
  readonly close: Effect.Effect<void>
  /**
   * Waits until nothing more will come and says why: this side closed, the connection broke, or the peer ended its side
   * (then what it sent before can still be read, and what we write may still reach it). To notice, it reads ahead up to
   * 256 KiB; these bytes are there for the next read.
   */
  readonly closed: Effect.Effect<CloseReason>
  /** How many bytes have been read from the stream and written to it until now. */
  readonly stats: Effect.Effect<{ readonly bytesRead: number; readonly bytesWritten: number }>
}

export type {
  /**
   * How a connection came to its end.
   *
   * @category models
   * @since 0.1.0
   */
  CloseReason
}

const bytesOf = (data: Uint8Array | string): Uint8Array => typeof data === "string" ? Buffer.from(data) : data

/** Programs read with the same few markers again and again. */
let lastMarker = { text: "\n", marker: new Marker(Buffer.from("\n")) }

const markerOf = (marker: Uint8Array | string): Marker => {
  if (typeof marker !== "string") return new Marker(marker)
  if (marker !== lastMarker.text) lastMarker = { text: marker, marker: new Marker(Buffer.from(marker)) }
  return lastMarker.marker
}

const lines = Framing.lines()

const orFail = <A>(result: Result.Result<A, TcpError["reason"]>): Effect.Effect<A, TcpError> =>
  Effect.mapError(Effect.fromResult(result), (reason) => new TcpError({ reason }))

const endsQuietly = <A>(stream: Stream.Stream<A, TcpError>): Stream.Stream<A, TcpError> =>
  Stream.catchReason(stream, "TcpError", "EndOfStream", (reason) =>
    // an end inside a frame is no end of the stream
    reason.received === 0 ? Stream.empty : Stream.fail(new TcpError({ reason })))

class Impl implements Connection {
  private readonly core: ConnectionCore
  private readonly options: FromDuplexOptions

  constructor(core: ConnectionCore, options: FromDuplexOptions) {
    this.core = core
    this.options = options
  }

  get id() {
    return Observe.connectionId(this.core)
  }

  get localAddress() {
    return Option.orElse(Option.fromUndefinedOr(this.options.localAddress), () => addressOf(this.core.duplex, "local"))
  }
  get remoteAddress() {
    return Option.orElse(
      Option.fromUndefinedOr(this.options.remoteAddress),
      () => addressOf(this.core.duplex, "remote")
    )
  }
  get tls() {
    return Option.fromUndefinedOr(TlsHandshake.tlsInfo(this.core.duplex))
  }

  read(options: ReadOptions = {}) {
    if (options.marker === undefined && options.maxSize === undefined) return Reads.piece(this.core, options.timeout)
    return Reads.bytes(this.core, {
      maxSize: options.maxSize,
      marker: options.marker === undefined ? undefined : markerOf(options.marker),
      timeout: options.timeout,
      limit: Framing.defaultMaxSize
    })
  }
  readString(options: ReadOptions & { readonly encoding?: string | undefined } = {}) {
    return Effect.flatMap(
      this.read(options),
      (bytes) => Effect.tapError(orFail(Text.decode(bytes, options.encoding ?? "utf-8")), () => this.unread(bytes))
    )
  }
  readExactly(count: number) {
    return Reads.exactly(this.core, count)
  }
  get readBatch() {
    return Reads.pieces(this.core)
  }
  readUntil(
    marker: string | Uint8Array,
    options?: { readonly maxSize?: number | undefined; readonly includeMarker?: boolean | undefined }
  ) {
    return Reads.until(
      this.core,
      markerOf(marker),
      options?.maxSize ?? Framing.defaultMaxSize,
      options?.includeMarker === true
    )
  }
  readLine(options?: { readonly encoding?: string | undefined; readonly maxSize?: number | undefined }) {
    return this.readFrame(options === undefined ? lines : Framing.lines(options))
  }
  readFrame<A>(framing: Framing.Framing<A>) {
    return Effect.suspend(() => Reads.frame(this.core, new Decoder(framing)))
  }
  get takeBuffered() {
    return Effect.sync(() => this.core.buffer.take(this.core.buffer.size))
  }
  unread(bytes: Uint8Array) {
    return Effect.sync(() => this.core.unread(bytes))
  }
  get reads() {
    return endsQuietly(Stream.fromPull(Effect.succeed(Reads.pieces(this.core))))
  }
  frames<A>(framing: Framing.Framing<A>) {
    return endsQuietly(Stream.fromPull(Effect.sync(() => Reads.frames(this.core, new Decoder(framing)))))
  }

  runFrames<A, E, R>(framing: Framing.Framing<A>, handler: (frame: A) => Effect.Effect<unknown, E, R>) {
    return Effect.suspend(() => runFrames(this.core, new Decoder(framing), handler))
  }
  consume(consumer: (bytes: Uint8Array) => void) {
    return this.core.consume(consumer)
  }

  write(data: Uint8Array | string, options?: { readonly timeout?: Duration.Input | undefined }) {
    const write = this.core.write(bytesOf(data))
    if (options?.timeout === undefined) return write
    const after = Duration.fromInputUnsafe(options.timeout)
    return within(write, after, () => Effect.fail(new TcpError({ reason: new WriteTimeout({ after }) })))
  }
  writeAll(pieces: ReadonlyArray<Uint8Array | string>) {
    return this.core.writeAll(pieces.map(bytesOf))
  }
  writeString(
    text: string,
    options: { readonly encoding?: string | undefined; readonly timeout?: Duration.Input | undefined } = {}
  ) {
    return Effect.flatMap(
      orFail(Text.encode(text, options.encoding ?? "utf-8")),
      (bytes) => this.write(bytes, options)
    )
  }
  writeFrame<A>(framing: Framing.Framing<A>, frame: A) {
    return Effect.flatMap(Effect.suspend(() => orFail(framing.encode(frame))), (bytes) => this.write(bytes))
  }
  get writes() {
    return Sink.forEachArray((pieces: ReadonlyArray<Uint8Array | string>) => this.writeAll(pieces))
  }

  upgradeTls(tls: TlsOptions = {}, options: UpgradeOptions = {}) {
    return Effect.flatMap(
      startTls(this.core, this.options, tls, options),
      (duplex) =>
        fromDuplex(duplex, {
          ...this.options,
          // a TLS stream over anything but a socket does not know them
          localAddress: Option.getOrUndefined(this.localAddress),
          remoteAddress: Option.getOrUndefined(this.remoteAddress)
        })
    )
  }
  get toSocket() {
    return Effect.sync(() =>
      EffectSocket.make(Effect.acquireRelease(Effect.succeed(this), (_, exit) => this.core.closeWith(exit)))
    )
  }

  get closeWrite() {
    return this.core.closeWrite
  }
  get closeRead() {
    return Effect.sync(() => this.core.closeRead())
  }
  get close() {
    return this.core.closeWith(Exit.void)
  }
  get closed() {
    return this.core.closed
  }
  get stats() {
    return Effect.sync(() => ({ bytesRead: this.core.bytesRead, bytesWritten: this.core.bytesWritten }))
  }
}

/**
 * Whether a value is a connection of this library.
 *
 * @category guards
 * @since 0.1.0
 */
export const isConnection = (value: unknown): value is Connection => value instanceof Impl

/**
 * What is known about a stream that a connection is made of.
 *
 * @category models
 * @since 0.1.0
 */
export interface FromDuplexOptions {
  /** Whether we dialled or accepted: the log says so, and `upgradeTls` is the client's or the server's side. Default `"dialed"`. */
  readonly role?: "dialed" | "accepted" | undefined
  /** What was dialled: `upgradeTls` asks for its host and verifies it. Default: the peer's address. */
  readonly target?: DialTarget | undefined
  /** The peer's address, where the stream's own is that of somebody between. Default: the stream's. */
  readonly remoteAddress?: SocketAddress | undefined
  /** The address that the peer connected to, where the stream's own is not. Default: the stream's. */
  readonly localAddress?: SocketAddress | undefined
}

const closing = (core: ConnectionCore) => (exit: Exit.Exit<unknown, unknown>) => core.closeWith(exit)

/**
 * A connection over a stream that a `Dialer` or a `Listener` gave, whose scope closes it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromDuplex = (
  duplex: Duplex,
  options: FromDuplexOptions = {}
): Effect.Effect<Connection, never, Scope.Scope> =>
  Effect.withFiber<Connection, never, Scope.Scope>((fiber) => {
    const role = options.role ?? "dialed"
    const core = new ConnectionCore(duplex, role, fiber.context)
    const connection = new Impl(core, options)
    const report = fiber.getRef(EventSink)
    if (report !== dropEvent) {
      const detail = Option.match(connection.remoteAddress, { onNone: () => "a stream", onSome: formatSocketAddress })
      report({ source: "tcp", id: connection.id, event: role, detail })
    }
    const scope = Context.getUnsafe(fiber.context, Scope.Scope)
    return isClosedIn(scope, duplex)
      ? Effect.succeed(connection)
      : Effect.as(Scope.addFinalizerExit(scope, closing(core)), connection)
  })

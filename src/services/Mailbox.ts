/**
 * All connections of a server as one mailbox: messages come with the id of their connection, and answers go to an id.
 *
 * For programs that are a loop over what arrives, whoever sends it. `TcpServer.mailbox` gives one for bytes as they come,
 * `TcpServer.mailboxOf` one for frames. Where each connection is a conversation of its own, `TcpServer.serve` is simpler.
 *
 * **Details**
 *
 * - Fair: of each connection at most one message waits, and connections take turns. One that sends without pause gets no
 *   more turns than the others.
 * - Bounded: a connection is read no further than the message that waits and what a `Connection` reads ahead (256 KiB). A
 *   peer that sends faster than messages are taken is slowed by TCP's own flow control.
 * - No byte is lost to a timeout or an interruption.
 * - A peer that has ended its side can still be written to: until `close` or `closeWrite`, and no longer than for 30
 *   seconds after its last message was taken. A connection that broke or ended stays, and holds its place among the
 *   server's `maxConnections`, until what it had sent is taken.
 * - Operations on an id that is not there fail with reason `UnknownConnection`.
 *
 * **Gotchas**
 *
 * Bytes are cut where the network cut them. Protocols have frames: use `TcpServer.mailboxOf`, or `read` with a marker.
 *
 * **Example** (A server that is a loop)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Framing, TcpServer } from "hawser"
 *
 * const program = Effect.gen(function*() {
 *   const server = yield* TcpServer.TcpServer
 *   const mailbox = yield* server.mailboxOf(Framing.lines())
 *   while (true) {
 *     const { data, id } = yield* mailbox.next()
 *     yield* Effect.ignore(mailbox.write(id, `${data.toUpperCase()}\n`))
 *   }
 * })
 * ```
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { SocketAddress } from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { ReadTimeout, TcpError, Unknown, UnknownConnection } from "../errors/TcpError.ts"
import { refuseSize } from "../internal/bytes/framing.ts"
import type { Connection, ReadOptions } from "./Connection.ts"
import type { Framing } from "./Framing.ts"

/**
 * What arrived, and on which connection.
 *
 * @category models
 * @since 0.1.0
 */
export interface Message<A> {
  /** The `id` of the `Connection`. */
  readonly id: string
  readonly data: A
}

/**
 * A connection of a mailbox.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry {
  readonly id: string
  readonly remoteAddress: Option.Option<SocketAddress>
  /** `"ended"`: the peer has ended its side and can still be written to. `"closed"`: nothing goes either way any more. */
  readonly state: "open" | "ended" | "closed"
  /** Whether a message of it waits to be taken. */
  readonly unread: boolean
}

/**
 * The connections of a server, of which each sends messages `A`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Mailbox<A> {
  /**
   * The next message of whichever connection has one. Errors: `ReadTimeout` when none came within `timeout` (default: it
   * waits for as long as it takes), `Closed` once the server no longer listens.
   */
  readonly next: (options?: { readonly timeout?: Duration.Input | undefined }) => Effect.Effect<Message<A>, TcpError>
  /** The same as a stream. It takes one message at a time; fails with `Closed` once the server no longer listens. */
  readonly messages: Stream.Stream<Message<A>, TcpError>
  /** The next message of one connection. Errors: `UnknownConnection`, `ReadTimeout` and those of reading. */
  readonly read: (
    id: string,
    options?: { readonly timeout?: Duration.Input | undefined }
  ) => Effect.Effect<A, TcpError>
  /** Writes bytes, or text in UTF-8. Errors: `UnknownConnection`, and those of `Connection.write`. */
  readonly write: (
    id: string,
    data: Uint8Array | string,
    options?: { readonly timeout?: Duration.Input | undefined }
  ) => Effect.Effect<void, TcpError>
  /** Ends our side (half-close). Where the peer's side has ended and is read, this closes the connection. */
  readonly closeWrite: (id: string) => Effect.Effect<void, TcpError>
  /** Stops reading: what is unread and what still comes is dropped. The connection closes when the peer ends its side. */
  readonly closeRead: (id: string) => Effect.Effect<void, TcpError>
  /** Closes a connection after what was written has left; what was unread is dropped. */
  readonly close: (id: string) => Effect.Effect<void, TcpError>
  /** The open connections, and those that are closed with a message unread. */
  readonly connections: Effect.Effect<ReadonlyArray<Entry>>
  /** The connection itself, for what is not here. To read, use `read`. */
  readonly connection: (id: string) => Effect.Effect<Connection, TcpError>
}

/**
 * A mailbox of bytes, in which a message is what has arrived of a connection when it is its turn.
 *
 * @category models
 * @since 0.1.0
 */
export interface ByteMailbox extends Mailbox<Uint8Array> {
  /**
   * The next bytes of whichever connection has some, at least one and at most `maxSize` (default: all that has arrived).
   * The rest comes when it is that connection's turn again.
   */
  readonly next: (
    options?: { readonly timeout?: Duration.Input | undefined; readonly maxSize?: number | undefined }
  ) => Effect.Effect<Message<Uint8Array>, TcpError>
  /** Reads from one connection as `Connection.read` does, by size, marker, timeout or end. */
  readonly read: (id: string, options?: ReadOptions) => Effect.Effect<Uint8Array, TcpError>
}

/** How long a peer that has ended, and whose messages are all taken, can be written to. */
const answerTimeout = "30 seconds"

/** Serves every connection with a handler, until the listener is gone. */
type Serve = (handler: (connection: Connection) => Effect.Effect<void, TcpError>) => Effect.Effect<never, TcpError>

/** How messages are read from a connection. */
interface Reading<A, O> {
  /** The next message, for `next`. */
  readonly message: (connection: Connection) => Effect.Effect<A, TcpError>
  /** Puts a message back, where that is possible. */
  readonly unread: ((connection: Connection, message: A) => Effect.Effect<void>) | undefined
  /** What `read` does when no message waits. */
  readonly read: (connection: Connection, options: O | undefined) => Effect.Effect<A, TcpError>
}

const timed = <A>(
  effect: Effect.Effect<A, TcpError>,
  timeout: Duration.Input | undefined,
  buffered: Effect.Effect<number> = Effect.succeed(0)
): Effect.Effect<A, TcpError> => {
  if (timeout === undefined) return effect
  const after = Duration.fromInputUnsafe(timeout)
  return Effect.timeoutOrElse(effect, {
    duration: after,
    orElse: () =>
      Effect.flatMap(
        buffered,
        (received) => Effect.fail(new TcpError({ reason: new ReadTimeout({ after, received }) }))
      )
  })
}

class Slot<A> {
  readonly connection: Connection
  readonly scope: Scope.Scope
  /** Done when the connection is not in the mailbox any more. */
  readonly released = Deferred.makeUnsafe<void, TcpError>()
  readonly writeClosed = Deferred.makeUnsafe<void>()
  state: Entry["state"] = "open"
  /** What was read ahead of those who ask. */
  message: Option.Option<A> = Option.none()
  /** Whether it is in line. */
  queued = false
  /** Reads ahead while nobody reads from this connection alone. */
  reader: Fiber.Fiber<void> | undefined
  readers = 0
  private whenTaken = () => {}

  constructor(connection: Connection, scope: Scope.Scope) {
    this.connection = connection
    this.scope = scope
  }

  /** Waits until the message is taken. */
  readonly taken = Effect.callback<void>((resume) => {
    if (Option.isNone(this.message)) return resume(Effect.void)
    this.whenTaken = () => resume(Effect.void)
  })

  take(): Option.Option<A> {
    const { message } = this
    this.message = Option.none()
    this.whenTaken()
    return message
  }
}

const make = Effect.fnUntraced(function*<A, O>(
  serve: Serve,
  reading: Reading<A, O>
) {
  const slots = new Map<string, Slot<A>>()
  /** Those with a message, each once. */
  const line = yield* Queue.unbounded<Slot<A>, TcpError>()

  const enqueue = (slot: Slot<A>) => {
    if (slot.queued || Option.isNone(slot.message)) return
    slot.queued = true
    Queue.offerUnsafe(line, slot)
  }

  /** Closes a connection and gives its place away. */
  const release = (slot: Slot<A>, exit: Exit.Exit<void, TcpError> = Exit.void) =>
    Effect.andThen(slot.connection.close, Deferred.done(slot.released, exit))

  /** What happens when there are no more messages. */
  const afterEnd = (slot: Slot<A>, error: TcpError): Effect.Effect<unknown> => {
    const { reason } = error
    if (reason._tag === "EndOfStream" && reason.received === 0) {
      const answered = Effect.timeoutOption(Deferred.await(slot.writeClosed), answerTimeout)
      return Effect.andThen(answered, release(slot))
    }
    if (reason._tag === "Closed") return Effect.andThen(slot.connection.closed, release(slot))
    // bytes that are no message, or a connection that broke
    return release(slot, Exit.fail(error))
  }

  const readAhead = (slot: Slot<A>): Effect.Effect<void> =>
    slot.taken.pipe(
      Effect.andThen(reading.message(slot.connection)),
      Effect.flatMap((message) =>
        Effect.sync(() => {
          slot.message = Option.some(message)
          enqueue(slot)
        })
      ),
      Effect.forever,
      Effect.catch((error) => afterEnd(slot, error)),
      Effect.asVoid
    )

  const start = (slot: Slot<A>) =>
    Effect.map(Effect.forkIn(readAhead(slot), slot.scope, { startImmediately: true }), (fiber) => {
      slot.reader = fiber
    })

  const handler = Effect.fnUntraced(function*(connection: Connection) {
    const slot = new Slot<A>(connection, yield* Effect.scope)
    slots.set(connection.id, slot)
    yield* Effect.addFinalizer(() => Effect.sync(() => void slots.delete(connection.id)))
    yield* start(slot)
    const { _tag } = yield* connection.closed
    slot.state = _tag === "Peer" ? "ended" : "closed"
    yield* Deferred.await(slot.released)
  }, Effect.scoped)

  yield* Effect.forkScoped(
    Effect.onError(serve(handler), (cause) => Effect.sync(() => Queue.failCauseUnsafe(line, cause))),
    { startImmediately: true }
  )

  const find = (id: string): Effect.Effect<Slot<A>, TcpError> =>
    Effect.suspend(() => {
      const slot = slots.get(id)
      return slot === undefined
        ? Effect.fail(new TcpError({ reason: new UnknownConnection({ id }) }))
        : Effect.succeed(slot)
    })

  /** The next message in line; `part` is what is taken of it, and what is left. */
  const take = (part: (message: A) => readonly [A, Option.Option<A>]): Effect.Effect<Message<A>, TcpError> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(restore(Queue.take(line)), (slot) => {
        slot.queued = false
        if (Option.isNone(slot.message)) return restore(take(part))
        const [data, rest] = part(slot.message.value)
        if (Option.isSome(rest)) {
          slot.message = rest
          enqueue(slot)
        } else slot.take()
        return Effect.succeed({ id: slot.connection.id, data })
      })
    )

  const read = Effect.fnUntraced(function*(id: string, options?: O) {
    const slot = yield* find(id)
    const { connection } = slot
    if (reading.unread === undefined && Option.isSome(slot.message)) return Option.getOrThrow(slot.take())
    return yield* Effect.acquireUseRelease(
      Effect.gen(function*() {
        slot.readers++
        if (slot.reader !== undefined) yield* Fiber.interrupt(slot.reader)
        slot.reader = undefined
        const ahead = slot.take()
        if (Option.isSome(ahead) && reading.unread !== undefined) yield* reading.unread(connection, ahead.value)
      }),
      // in a fiber of its own, so that one that is interrupted reads no more when reading ahead begins again
      () => Effect.raceFirst(reading.read(connection, options), Effect.never),
      () => Effect.suspend(() => --slot.readers === 0 ? start(slot) : Effect.void)
    )
  })

  /** Takes it out of the mailbox. */
  const remove = (slot: Slot<A>) =>
    Effect.suspend(() => {
      slots.delete(slot.connection.id)
      slot.take()
      return Effect.asVoid(release(slot))
    })

  const whole = take((message) => [message, Option.none()])
  const mailbox: Omit<Mailbox<A>, "read"> = {
    next: (options) => timed(whole, options?.timeout),
    messages: Stream.fromEffectRepeat(whole),
    write: (id, data, options) => Effect.flatMap(find(id), ({ connection }) => connection.write(data, options)),
    closeWrite: (id) =>
      Effect.flatMap(
        find(id),
        ({ connection, writeClosed }) =>
          Effect.andThen(connection.closeWrite, Effect.asVoid(Deferred.succeed(writeClosed, undefined)))
      ),
    closeRead: (id) =>
      Effect.flatMap(
        find(id),
        (slot) => Effect.andThen(slot.connection.closeRead, Effect.sync(() => void slot.take()))
      ),
    close: (id) => Effect.flatMap(find(id), remove),
    connections: Effect.sync(() =>
      [...slots.values()].map(({ connection, message, state }) => ({
        id: connection.id,
        remoteAddress: connection.remoteAddress,
        state,
        unread: Option.isSome(message)
      }))
    ),
    connection: (id) => Effect.map(find(id), ({ connection }) => connection)
  }
  return { mailbox, read, take }
})

const cut = (maxSize: number) => (message: Uint8Array): readonly [Uint8Array, Option.Option<Uint8Array>] =>
  message.length <= maxSize
    ? [message, Option.none()]
    : [message.subarray(0, maxSize), Option.some(message.subarray(maxSize))]

/**
 * A mailbox of bytes over something that serves.
 *
 * @internal
 */
export const bytes = Effect.fnUntraced(function*(serve: Serve): Effect.fn.Return<ByteMailbox, never, Scope.Scope> {
  const { mailbox, read, take } = yield* make<Uint8Array, ReadOptions>(serve, {
    message: (connection) =>
      Effect.map(connection.readBatch, (pieces) => pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)),
    unread: (connection, message) => connection.unread(message),
    read: (connection, options) => connection.read(options)
  })
  return {
    ...mailbox,
    next: ({ maxSize = Infinity, timeout } = {}) => {
      const refusal = refuseSize(maxSize) ?? (maxSize < 1 ? new Unknown({ detail: "a message has a byte" }) : undefined)
      return refusal === undefined
        ? timed(take(cut(maxSize)), timeout)
        : Effect.fail(new TcpError({ reason: refusal }))
    },
    read
  }
})

/**
 * A mailbox of frames over something that serves.
 *
 * @internal
 */
export const frames = Effect.fnUntraced(
  function*<A>(serve: Serve, framing: Framing<A>): Effect.fn.Return<Mailbox<A>, never, Scope.Scope> {
    const { mailbox, read } = yield* make<A, { readonly timeout?: Duration.Input | undefined }>(serve, {
      message: (connection) => connection.readFrame(framing),
      // a frame that was read ahead is the next one that is read
      unread: undefined,
      read: (connection, options) =>
        timed(
          connection.readFrame(framing),
          options?.timeout,
          Effect.tap(connection.takeBuffered, (bytes) => connection.unread(bytes)).pipe(
            Effect.map((bytes) => bytes.length)
          )
        )
    })
    return { ...mailbox, read }
  }
)

import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import { TLSSocket } from "node:tls"

/**
 * How long what was written may take to reach the system when a connection is closed: real time, so that a peer that
 * takes nothing cannot hold up the end of a program whose clock is a test's.
 */
const linger = Effect.provideService(Effect.sleep("2 seconds"), Clock.Clock, Clock.Clock.defaultValue())

const emitted = (duplex: Duplex, ...events: ReadonlyArray<"finish" | "close">) =>
  Effect.callback<void>((resume) => {
    const done = () => resume(Effect.void)
    for (const event of events) duplex.once(event, done)
    return Effect.sync(() => {
      for (const event of events) duplex.off(event, done)
    })
  })

/** Waits until a stream is closed, in both directions. */
export const closed = (duplex: Duplex): Effect.Effect<void> =>
  Effect.suspend(() => duplex.closed ? Effect.void : emitted(duplex, "close"))

/** Destroys a stream once what was written to it, and its end, have reached the system; waits for that only so long. */
export const destroyWhenFlushed = (duplex: Duplex): Effect.Effect<void> =>
  Effect.suspend(() => {
    const destroy = Effect.sync(() => void duplex.destroy())
    return duplex.writableFinished || duplex.destroyed
      ? destroy
      : Effect.andThen(Effect.raceFirst(emitted(duplex, "finish", "close"), linger), destroy)
  })

/** A socket that the system has everything of: closing it says the end to the peer, and there is nothing to wait for. */
const isFlushedSocket = (duplex: Duplex) =>
  duplex instanceof Net.Socket && !(duplex instanceof TLSSocket) && duplex.writableLength === 0

/**
 * Closes a stream: what was written is handed to the system first, unless the scope was interrupted, which means that
 * nobody wants it any more. Gives what has to be waited for, if anything.
 */
export const closeUnsafe = (duplex: Duplex, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> | undefined => {
  if (duplex.destroyed) return undefined
  const abandoned = Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause)
  if (abandoned || isFlushedSocket(duplex)) {
    duplex.destroy()
    return undefined
  }
  if (!duplex.writableEnded) duplex.end()
  return destroyWhenFlushed(duplex)
}

/** The same as an effect. */
export const close = (duplex: Duplex, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
  Effect.suspend(() => closeUnsafe(duplex, exit) ?? Effect.void)

/**
 * Runs a step that opens things in a scope of its own, which becomes part of the caller's when the step succeeds and is
 * closed at once when it fails: a refused handshake does not hold its socket until the caller's scope ends.
 */
export const scopedUnlessFailed = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, Scope.Scope> | Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const child = yield* Scope.fork(yield* Effect.scope)
      const exit = yield* Effect.exit(restore(Scope.provide(effect, child)))
      if (Exit.isFailure(exit)) yield* Scope.close(child, exit)
      return yield* exit
    })
  )

interface Addressed {
  readonly localAddress?: string | undefined
  readonly localPort?: number | undefined
  readonly remoteAddress?: string | undefined
  readonly remotePort?: number | undefined
}

/** The address of one end, where the stream knows it (`net.Socket` and whatever imitates its properties). */
export const addressOf = (
  duplex: Duplex & Addressed,
  side: "local" | "remote"
): Option.Option<NetAddress.SocketAddress> => {
  const address = side === "local" ? duplex.localAddress : duplex.remoteAddress
  const port = side === "local" ? duplex.localPort : duplex.remotePort
  return address === undefined || port === undefined
    ? Option.none()
    : Option.getSuccess(NetAddress.inetAddressFromHostString(address, port))
}

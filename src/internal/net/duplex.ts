import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import { TLSSocket } from "node:tls"
import { ownerOf } from "./owner.ts"
import { alarmAnyway } from "./realTime.ts"

/** How long what was written may take to reach the system when a connection is closed. */
const linger = Duration.seconds(2)

/** Waits until a stream is closed, in both directions. */
export const closed = (duplex: Duplex): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (duplex.closed) return resume(Effect.void)
    const done = () => resume(Effect.void)
    duplex.once("close", done)
    return Effect.sync(() => void duplex.off("close", done))
  })

/** Destroys a stream once what was written to it, and its end, have reached the system; waits for that only so long. */
export const destroyWhenFlushed = (duplex: Duplex): Effect.Effect<void> =>
  Effect.clockWith((clock) =>
    Effect.callback((resume) => {
      if (duplex.writableFinished || duplex.destroyed) {
        duplex.destroy()
        return resume(Effect.void)
      }
      const settle = () => {
        stop()
        resume(Effect.void)
      }
      const stop = () => {
        stopAlarm()
        duplex.off("finish", settle).off("close", settle).destroy()
      }
      const stopAlarm = alarmAnyway(clock, linger, settle)
      duplex.once("finish", settle).once("close", settle)
      return Effect.sync(stop)
    })
  )

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

const closer = Symbol("hawser/closer")

interface Closing {
  [closer]?: Scope.Scope
}

/** Closes a stream as its owner does, where it has one. */
export const closeOwned = (duplex: Duplex, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
  ownerOf(duplex).closeWith?.(exit) ?? closeUnsafe(duplex, exit) ?? Effect.void

/** Remembers that a stream is closed by `closeOwned` when a scope ends. */
export const markClosedIn = (scope: Scope.Scope, duplex: Duplex & Closing): void => {
  duplex[closer] = scope
}

/** Whether a scope closes a stream: its owner need not add a finalizer then, and to run two costs more than two of one. */
export const isClosedIn = (scope: Scope.Scope, duplex: Duplex & Closing): boolean => duplex[closer] === scope

/** Has a scope close a stream. */
export const closeIn = <D extends Duplex>(scope: Scope.Scope, duplex: D): Effect.Effect<D> => {
  markClosedIn(scope, duplex)
  return Effect.as(Scope.addFinalizerExit(scope, (exit) => closeOwned(duplex, exit)), duplex)
}

/**
 * Runs a step that opens things in a scope of its own, which becomes part of the caller's when the step succeeds and is
 * closed at once when it fails: a refused handshake does not hold its socket until the caller's scope ends.
 */
export const scopedUnlessFailed = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, Scope.Scope> | Scope.Scope> =>
  Effect.flatMap(
    Effect.flatMap(Effect.scope, (scope) => Scope.fork(scope)),
    (child) => Effect.onError(Scope.provide(effect, child), (cause) => Scope.close(child, Exit.failCause(cause)))
  )

interface Addressed {
  readonly localAddress?: string | undefined
  readonly localPort?: number | undefined
  readonly remoteAddress?: string | undefined
  readonly remotePort?: number | undefined
}

/**
 * Has a stream tell where the one below it leads to. What the system gives is left alone: TLS over a socket asks that, and over
 * any other stream it would know of no addresses.
 */
export const withAddressesOf = <D extends Duplex>(below: Duplex & Addressed, duplex: D): D => {
  if (below instanceof Net.Socket && !(below instanceof TLSSocket)) return duplex
  for (const name of ["localAddress", "localPort", "remoteAddress", "remotePort"] as const) {
    if (below[name] !== undefined) Object.defineProperty(duplex, name, { value: below[name], configurable: true })
  }
  return duplex
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

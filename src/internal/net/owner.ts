import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type { Duplex } from "node:stream"

/** Who is told what happens to a stream. */
export interface Owner {
  /** Takes what the stream emits and says whether to go on reading. */
  onData(piece: Buffer): boolean
  onEnd(): void
  onError(cause: Error): void
  onDrain(): void
  onClose(): void
  /** Closes the stream as its scope ends. Default: as a stream without an owner. */
  closeWith?(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void>
}

const nobody: Owner = { onData: () => true, onEnd() {}, onError() {}, onDrain() {}, onClose() {} }

const owner = Symbol("hawser/owner")

/** A property and not a WeakMap: entries of that cost the garbage collector a tenth of what connecting does. */
interface Owned {
  [owner]?: Owner
}

/** Who is told of a stream. */
export const ownerOf = (duplex: Duplex & Owned): Owner => duplex[owner] ?? nobody

// all streams share these listeners, so that an idle connection is little more than its stream

function onData(this: Duplex, piece: Buffer): void {
  if (!ownerOf(this).onData(piece)) this.pause()
}

function onEnd(this: Duplex): void {
  ownerOf(this).onEnd()
}

function onError(this: Duplex, cause: Error): void {
  ownerOf(this).onError(cause)
}

function onDrain(this: Duplex): void {
  ownerOf(this).onDrain()
}

function onClose(this: Duplex): void {
  ownerOf(this).onClose()
}

/** An error event without a listener ends the process: every stream of ours has one for as long as it lives. */
export const guardErrors = <D extends Duplex & Owned>(duplex: D): D => {
  if (duplex[owner] !== undefined) return duplex
  duplex[owner] = nobody
  return duplex.on("error", onError)
}

/** Tells `by` from now on what happens to a stream. */
export const own = (duplex: Duplex & Owned, by: Owner): void => {
  guardErrors(duplex)[owner] = by
  duplex.on("end", onEnd).on("drain", onDrain).on("close", onClose)
}

/** Has a stream flow to its owner. */
export const ownData = (duplex: Duplex): Duplex => duplex.on("data", onData)

/** Leaves a stream to somebody else. */
export const disown = (duplex: Duplex & Owned): void => {
  duplex.off("data", onData).off("end", onEnd).off("drain", onDrain).off("close", onClose)
  duplex[owner] = nobody
}

import type { Duplex } from "node:stream"

/** Who is told what happens to a stream. */
export interface Owner {
  /** Takes what the stream emits and says whether to go on reading. */
  onData(piece: Buffer): boolean
  onEnd(): void
  onError(cause: Error): void
  onDrain(): void
  onClose(): void
}

const nobody: Owner = { onData: () => true, onEnd() {}, onError() {}, onDrain() {}, onClose() {} }

const owners = new WeakMap<Duplex, Owner>()

const ownerOf = (duplex: Duplex): Owner => owners.get(duplex) ?? nobody

/** All streams share their listeners, so that an idle connection is little more than its stream. */
const listeners = {
  data(this: Duplex, piece: Buffer): void {
    if (!ownerOf(this).onData(piece)) this.pause()
  },
  end(this: Duplex): void {
    ownerOf(this).onEnd()
  },
  error(this: Duplex, cause: Error): void {
    ownerOf(this).onError(cause)
  },
  drain(this: Duplex): void {
    ownerOf(this).onDrain()
  },
  close(this: Duplex): void {
    ownerOf(this).onClose()
  }
}

/** An error event without a listener ends the process: every stream of ours has one for as long as it lives. */
export const guardErrors = <D extends Duplex>(duplex: D): D => {
  if (owners.has(duplex)) return duplex
  owners.set(duplex, nobody)
  return duplex.on("error", listeners.error)
}

/** Tells `owner` from now on what happens to a stream. */
export const own = (duplex: Duplex, owner: Owner): void => {
  owners.set(guardErrors(duplex), owner)
  duplex.on("end", listeners.end).on("drain", listeners.drain).on("close", listeners.close)
}

/** Has a stream flow to its owner. */
export const ownData = (duplex: Duplex): Duplex => duplex.on("data", listeners.data)

/** Leaves a stream to somebody else. */
export const disown = (duplex: Duplex): void => {
  const { close, data, drain, end } = listeners
  duplex.off("data", data).off("end", end).off("drain", drain).off("close", close)
  owners.set(duplex, nobody)
}

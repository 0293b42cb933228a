import type { Duplex } from "node:stream"

type Channel = Pick<Duplex, "readableEnded" | "writable"> & { readonly incoming: unknown; readonly outgoing: unknown }

const stateOf = (direction: unknown): unknown =>
  typeof direction === "object" && direction !== null && "state" in direction ? direction.state : undefined

/**
 * Whether one direction of a channel is open. ssh2 keeps a state for each (`open`, `eof`, `closing`, `closed`) that its
 * types do not have, and no event or property says the same in time. Where the state is gone, the stream's own is the
 * next best.
 */
export const isOpen = (channel: Channel, direction: "incoming" | "outgoing"): boolean => {
  const state = stateOf(channel[direction])
  if (state === undefined) return direction === "outgoing" ? channel.writable : !channel.readableEnded
  return state === "open"
}

import * as Effect from "effect/Effect"
import { compress, type Compression } from "./compression.ts"
import { frame, frameSize } from "./frames.ts"

/** How many bytes of messages go to HTTP/2 in one piece. */
const pieceSize = 64 * 1024

/** Where frames go. */
export interface Outlet {
  /** Takes frames; says whether there is room for more at once. */
  readonly send: (frames: Buffer) => boolean
  /** Waits until there is room, or until nobody wants any more. */
  readonly room: Effect.Effect<void>
  /** Whether nobody wants any more. */
  readonly isOver: () => boolean
}

/**
 * Sends messages in pieces of some 64 KiB, each when there is room for it. Ready when there is room again, or when nobody
 * wants any more.
 */
export const sendAll = (
  outlet: Outlet,
  messages: ReadonlyArray<Uint8Array>,
  compression: Compression
): Effect.Effect<void> => {
  if (compression !== "identity") {
    return Effect.forEach(
      messages,
      (message) =>
        Effect.flatMap(
          outlet.isOver() ? Effect.undefined : compress(message, compression),
          (packed) =>
            packed === undefined || outlet.isOver() || outlet.send(frame([packed], true)) ? Effect.void : outlet.room
        ),
      { discard: true }
    )
  }
  let at = 0
  const sendMore = (): Effect.Effect<void> => {
    while (at < messages.length && !outlet.isOver()) {
      let end = at
      let size = 0
      do size += frameSize(messages[end++]!)
      while (end < messages.length && size < pieceSize)
      const piece = at === 0 && end === messages.length ? messages : messages.slice(at, end)
      at = end
      if (!outlet.send(frame(piece, false))) return Effect.andThen(outlet.room, Effect.suspend(sendMore))
    }
    return Effect.void
  }
  return Effect.suspend(sendMore)
}

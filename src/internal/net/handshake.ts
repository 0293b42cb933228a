import * as Effect from "effect/Effect"
import type { Duplex } from "node:stream"

/** The end of an answer: the first `used` bytes of those that were looked at belong to it, the others do not. */
export interface Answered<A, E> {
  readonly used: number
  readonly result: Effect.Effect<A, E>
}

export interface Options<A, E> {
  /** Is given the bytes in order, each once, in pieces of any size; `undefined` asks for more. */
  readonly parse: (bytes: Buffer) => Answered<A, E> | undefined
  /** How many bytes an answer may have. */
  readonly limit: number
  /** Makes the error for a stream that ended, closed or failed before the answer was complete, or for one too long. */
  readonly broken: (how: { readonly detail: string; readonly cause?: Error }) => E
}

/**
 * Waits for the peer's answer at the beginning of a stream and leaves everything behind it in the stream, for whoever
 * reads next and however they read. Leaves no listener behind, also when interrupted. Does not close the stream and has
 * no time limit: its caller owns both.
 */
export const answer = <A, E>(duplex: Duplex, { broken, limit, parse }: Options<A, E>): Effect.Effect<A, E> =>
  Effect.callback<A, E>((resume) => {
    let left = limit
    const stop = () => {
      duplex.off("readable", onReadable).off("end", onEnd).off("error", onError).off("close", onClose)
    }
    const fail = (how: { readonly detail: string; readonly cause?: Error }) => {
      stop()
      resume(Effect.fail(broken(how)))
    }
    const onReadable = () => {
      for (let chunk: Buffer | null; (chunk = duplex.read()) !== null;) {
        const answered = parse(chunk.subarray(0, left))
        if (answered !== undefined) {
          // listening has to stop first: unshift wakes those who wait for bytes
          stop()
          if (answered.used < chunk.length) duplex.unshift(chunk.subarray(answered.used))
          return resume(answered.result)
        }
        left -= chunk.length
        if (left <= 0) return fail({ detail: `more than ${limit} bytes` })
      }
    }
    const onEnd = () => fail({ detail: "the connection ended before the answer was complete" })
    const onError = (cause: Error) => fail({ detail: "the connection failed before the answer was complete", cause })
    const onClose = () => fail({ detail: "the connection was closed before the answer was complete" })
    if (duplex.destroyed || duplex.readableEnded) return onEnd()
    duplex.on("readable", onReadable).on("end", onEnd).on("error", onError).on("close", onClose)
    // what arrived before anybody listened is not announced again
    onReadable()
    return Effect.sync(stop)
  })

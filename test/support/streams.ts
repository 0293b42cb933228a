/** Reading and writing raw streams, for tests of what lies below `Connection`. */
import * as Effect from "effect/Effect"
import type { Duplex } from "node:stream"
import type { DialTarget } from "../../src/internal/net/target.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"

/** A listener, and one connection to it in both its ends. */
export const connected = Effect.fnUntraced(function*(address: DialTarget = { host: "127.0.0.1", port: 0 }) {
  const bound = yield* (yield* Listener.Listener).bind(address)
  const client = yield* (yield* Dialer.Dialer).dial(bound.address)
  const server = yield* bound.accept
  return { bound, client, server }
})

/** What an operation on a stream came to: `"ok"`, or the error's code. */
const outcome = (error: Error | null | undefined): string =>
  error === null || error === undefined ? "ok" : "code" in error ? String(error.code) : error.message

/** Writes, and says what came of it once the stream has got rid of the bytes. */
export const write = (duplex: Duplex, bytes: Uint8Array | string) =>
  Effect.callback<string>((resume) => void duplex.write(bytes, (error) => resume(Effect.succeed(outcome(error)))))

/** Reads everything, and says how it ended: `"end"`, the error's code, or `"close"` when it was closed on this side. */
export const readAll = (duplex: Duplex) =>
  Effect.callback<{ readonly bytes: Buffer; readonly ending: string }>((resume) => {
    const pieces: Array<Buffer> = []
    const finish = (ending: string) => resume(Effect.succeed({ bytes: Buffer.concat(pieces), ending }))
    duplex
      .on("data", (piece: Buffer) => void pieces.push(piece))
      .once("end", () => finish("end"))
      .once("error", (error) => finish(outcome(error)))
      .once("close", () => finish("close"))
      // only now: what comes before anybody listens would be lost
      .resume()
  })

/** Reads exactly `count` bytes and leaves the rest. */
export const read = (duplex: Duplex, count: number) =>
  Effect.callback<Buffer>((resume) => {
    const pieces: Array<Buffer> = []
    let missing = count
    const take = () => {
      while (missing > 0) {
        const piece: Buffer | null = duplex.read(Math.min(missing, duplex.readableLength) || undefined)
        if (piece === null) return
        missing -= piece.length
        pieces.push(piece)
      }
      duplex.off("readable", take)
      resume(Effect.succeed(Buffer.concat(pieces)))
    }
    duplex.on("readable", take)
    take()
  })

/** Sends everything back, and the end too. */
export const echo = (duplex: Duplex) => Effect.sync(() => void duplex.pipe(duplex))

/** Waits until a stream has read so far ahead that it has stopped: what comes now is held by the network. */
export const stuffed = (duplex: Duplex) =>
  Effect.callback<void>((resume) => {
    const check = () => {
      if (duplex.readableLength >= duplex.readableHighWaterMark) resume(Effect.void)
      else setImmediate(check)
    }
    check()
  })

/** Closes a stream with a reset instead of an end. */
export const resetByUs = (duplex: Duplex) =>
  Effect.sync(() => {
    if ("resetAndDestroy" in duplex && typeof duplex.resetAndDestroy === "function") duplex.resetAndDestroy()
  })

/** Turns of the event loop, for asserting that nothing more happens. */
export const turns = (count: number): Effect.Effect<void> =>
  Effect.repeat(Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void))), { times: count })

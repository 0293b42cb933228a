import * as Effect from "effect/Effect"
import type { Duplex } from "node:stream"
import { TLSSocket } from "node:tls"
import { Reset } from "../../errors/TcpError.ts"

interface Resettable {
  readonly remoteAddress?: string | undefined
  resetAndDestroy?(): unknown
}

/** Whether the end of what is written is on its way. */
const isEnding = ({ writableEnded, writableFinished }: Duplex) => writableEnded && !writableFinished

/** Closes a stream so that its peer can tell it from a regular end, where the network underneath knows a reset. */
export const reset = (duplex: Duplex & Resettable): void => {
  if (duplex.destroyed) return
  // Node resets plain TCP only and throws for everything else
  if (duplex.remoteAddress === undefined || duplex instanceof TLSSocket) duplex.destroy()
  // and never closes what is just being shut down
  else if (duplex.resetAndDestroy === undefined || isEnding(duplex)) duplex.destroy()
  else duplex.resetAndDestroy()
}

const broken = (cause: Error | null): Reset =>
  cause === null
    ? new Reset({ code: "ECONNABORTED" })
    : new Reset({ code: "code" in cause && typeof cause.code === "string" ? cause.code : "ECONNRESET", cause })

/** Whether a stream that is closed came to its end in both directions. */
const isComplete = (duplex: Duplex) => duplex.errored === null && duplex.readableEnded && duplex.writableFinished

/**
 * Passes bytes on between two streams, in both directions, until both have ended. Each end is passed on as one, so that
 * half-close works; a slow side holds the other back. Where one side fails or is closed early the other is reset, and both are
 * when this is interrupted: what was cut short must not look as if it had ended. Node's `pipeline` would end it regularly.
 */
export const relay = (a: Duplex, b: Duplex): Effect.Effect<void, Reset> =>
  Effect.callback((resume) => {
    const stop = () => {
      a.off("close", onCloseA).unpipe(b)
      b.off("close", onCloseB).unpipe(a)
    }
    const onClose = (side: Duplex, other: Duplex) => {
      if (!isComplete(side)) {
        stop()
        reset(other)
        resume(Effect.fail(broken(side.errored)))
      } else if (other.closed) {
        stop()
        resume(Effect.void)
      }
    }
    const onCloseA = () => onClose(a, b)
    const onCloseB = () => onClose(b, a)
    a.once("close", onCloseA).pipe(b)
    b.once("close", onCloseB).pipe(a)
    // what was closed before is not announced again
    if (a.closed) onCloseA()
    else if (b.closed) onCloseB()
    return Effect.sync(() => {
      stop()
      reset(a)
      reset(b)
    })
  })

import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import { TcpError } from "../errors/TcpError.ts"
import type { Decoder } from "./bytes/framing.ts"
import type { ConnectionCore } from "./connection.ts"

/**
 * Handles frames as they arrive, one after the other, in a fiber each. A handler that never waits is over before the next
 * frame is looked at, so nothing is suspended and resumed, which is most of what a read by pulling costs. While a handler
 * does wait, nothing is handled and what arrives is buffered as far as the connection's limit.
 */
export const runFrames = <A, E, R>(
  core: ConnectionCore,
  decoder: Decoder<A>,
  handle: (frame: A) => Effect.Effect<unknown, E, R>
): Effect.Effect<void, TcpError | E, R> =>
  Effect.contextWith((context) =>
    Effect.withFiber((fiber) =>
      core.begin(fiber) ?? Effect.callback<void, TcpError | E>((resume) => {
        const fork = Effect.runForkWith(context)
        const { buffer, duplex } = core
        let running: Fiber.Fiber<unknown, E> | undefined
        let over = false

        /** The answers to frames that came together leave together. */
        const send = () => {
          if (duplex.writableCorked > 0) duplex.uncork()
        }

        const settle = (exit: Exit.Exit<void, TcpError | E>): false => {
          over = true
          // first of all: who waits for this goes on inside `resume`
          send()
          resume(exit)
          return false
        }

        /** Handles the next frame; says whether there may be another one to handle now. */
        const step = (): boolean => {
          const taken = core.takeFrame(decoder)
          if (taken === undefined) {
            const end = core.endOfInput()
            if (end === undefined) {
              core.waitFor(fiber, 0, pump)
              return false
            }
            return settle(
              end._tag === "EndOfStream" && buffer.size === 0 ? Exit.void : Exit.fail(new TcpError({ reason: end }))
            )
          }
          if (Result.isFailure(taken)) return settle(Exit.fail(new TcpError({ reason: taken.failure })))
          if (buffer.size > 0 && duplex.writableCorked === 0) duplex.cork()
          running = fork(Effect.suspend(() => handle(taken.success)))
          const exit = running.pollUnsafe()
          if (over) {
            // the handler itself had this interrupted
            running.interruptUnsafe()
            return false
          }
          if (exit === undefined) {
            running.addObserver((exit) => {
              if (over) return
              // somebody else may have begun to read in the meantime
              const failed = Exit.isSuccess(exit) ? core.begin(fiber) : Exit.failCause(exit.cause)
              if (failed === undefined) pump()
              else settle(failed)
            })
            return false
          }
          running = undefined
          return Exit.isSuccess(exit) || settle(Exit.failCause(exit.cause))
        }

        const pump = (): void => {
          while (step());
          if (over) return
          send()
          core.relieve()
        }

        pump()
        return Effect.suspend(() => {
          over = true
          send()
          core.stopWaiting(fiber)
          return running === undefined ? Effect.void : Fiber.interrupt(running)
        })
      })
    )
  )

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

        const settle = (exit: Exit.Exit<void, TcpError | E>): false => {
          over = true
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
          if (exit === undefined) {
            running.addObserver((exit) => {
              if (over) return
              if (Exit.isSuccess(exit)) pump()
              else settle(Exit.failCause(exit.cause))
            })
            return false
          }
          running = undefined
          return Exit.isSuccess(exit) || settle(Exit.failCause(exit.cause))
        }

        const pump = (): void => {
          while (!over && step());
          // the answers to frames that came together leave together
          if (duplex.writableCorked > 0) duplex.uncork()
          core.relieve()
        }

        pump()
        return Effect.suspend(() => {
          over = true
          core.stopWaiting(fiber)
          return running === undefined ? Effect.void : Fiber.interrupt(running)
        })
      })
    )
  )

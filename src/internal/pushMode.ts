import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import { TcpError, type TcpErrorReason } from "../errors/TcpError.ts"
import type { Decoder } from "./bytes/framing.ts"
import type { ConnectionCore } from "./connection.ts"
import { takeFrame } from "./reads.ts"

/**
 * Handles frames as they arrive. The frames that came together are handled in one fiber, in a loop: a handler that never
 * waits is over before the next frame is looked at, so nothing is suspended and resumed, which is most of what a read by
 * pulling costs. While a handler does wait, nothing is handled and what arrives is buffered as far as the connection's
 * limit.
 */
class FramePump<A, E, R> {
  private readonly core: ConnectionCore
  private readonly decoder: Decoder<A>
  private readonly handle: (frame: A) => Effect.Effect<unknown, E, R>
  private readonly context: Context.Context<R>
  /** Who waits for the end, and how to tell it. */
  private readonly owner: Fiber.Fiber<unknown, unknown>
  private readonly resume: (exit: Exit.Exit<void, TcpError | E>) => void
  private running: Fiber.Fiber<void, E> | undefined
  private frame: Result.Success<A, TcpErrorReason> | undefined
  /** What ends it after the handler that runs. */
  private end: Exit.Exit<void, TcpError> | undefined
  /** Whether the loop has not waited since it began. */
  private inOneGo = false
  /** Whether the loop has stopped before it had handled everything. */
  private more = false
  private over = false

  constructor(
    core: ConnectionCore,
    decoder: Decoder<A>,
    handle: (frame: A) => Effect.Effect<unknown, E, R>,
    context: Context.Context<R>,
    owner: Fiber.Fiber<unknown, unknown>,
    resume: (exit: Exit.Exit<void, TcpError | E>) => void
  ) {
    this.core = core
    this.decoder = decoder
    this.handle = handle
    this.context = context
    this.owner = owner
    this.resume = resume
  }

  /** Takes the next frame, if there is one to be handled in this loop. */
  while(): boolean {
    const loop = Fiber.getCurrent()
    if (!this.inOneGo || this.over || loop === undefined) return false
    // a fiber that has run for long makes way for others, and that must not be after a frame was taken
    this.more = 2 * loop.currentOpCount >= loop.cache.maxOpsBeforeYield
    if (this.more) return false
    const { core } = this
    // after a frame there is mostly nothing, which need not be decoded
    const taken = this.frame !== undefined && core.buffer.size === 0 ? undefined : takeFrame(core, this.decoder)
    if (taken === undefined) {
      const end = core.endOfInput()
      if (end !== undefined) {
        this.end = end._tag === "EndOfStream" && core.buffer.size === 0
          ? Exit.void
          : Exit.fail(new TcpError({ reason: end }))
      }
      return false
    }
    if (Result.isFailure(taken)) {
      this.end = Exit.fail(new TcpError({ reason: taken.failure }))
      return false
    }
    // the answers to frames that came together leave together
    if (core.buffer.size > 0) core.hold()
    this.frame = taken
    return true
  }

  /** Handles the frame. */
  body(): Effect.Effect<unknown, E, R> {
    return this.frame === undefined ? Effect.void : this.handle(this.frame.success)
  }

  step(): void {}

  /** Handles the frames that are there, then waits for more. */
  readonly pump = (): void => {
    for (;;) {
      this.inOneGo = true
      const running: Fiber.Fiber<void, E> = Effect.runForkWith(this.context)(Effect.whileLoop(this))
      this.inOneGo = false
      this.frame = undefined
      // a handler may have ended the one who waits
      if (this.over) return running.interruptUnsafe()
      const exit = running.pollUnsafe()
      if (exit === undefined) return this.awaitHandler(running)
      if (!this.more || Exit.isFailure(exit)) return this.done(exit)
    }
  }

  private awaitHandler(running: Fiber.Fiber<void, E>): void {
    this.running = running
    this.core.flush()
    this.core.relieve()
    running.addObserver((exit) => {
      this.running = undefined
      if (!this.over) this.done(exit, true)
    })
  }

  /** Goes on after a loop: with another one when this one had `waited`. */
  private done(exit: Exit.Exit<void, E>, waited = false): void {
    if (Exit.isFailure(exit)) return this.settle(exit)
    if (this.end !== undefined) return this.settle(this.end)
    // somebody else may have begun to read in the meantime
    const failed = waited ? this.core.begin(this.owner) : undefined
    if (failed !== undefined) return this.settle(failed)
    if (waited) return this.pump()
    this.core.flush()
    this.core.waitFor(this.owner, 0, this.pump)
    this.core.relieve()
  }

  private settle(exit: Exit.Exit<void, TcpError | E>): void {
    this.over = true
    // first of all: who waits for this goes on inside `resume`
    this.core.flush()
    this.resume(exit)
  }

  /** Ends it before its time. */
  get stop(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.over = true
      this.core.flush()
      this.core.stopWaiting(this.owner)
      return this.running === undefined ? Effect.void : Fiber.interrupt(this.running)
    })
  }
}

/** Handles frames as they arrive, one after the other, until the peer ends. */
export const runFrames = <A, E, R>(
  core: ConnectionCore,
  decoder: Decoder<A>,
  handle: (frame: A) => Effect.Effect<unknown, E, R>
): Effect.Effect<void, TcpError | E, R> =>
  Effect.contextWith((context: Context.Context<R>) =>
    Effect.withFiber((fiber) =>
      core.begin(fiber) ?? Effect.callback<void, TcpError | E>((resume) => {
        const pump = new FramePump(core, decoder, handle, context, fiber, resume)
        pump.pump()
        return pump.stop
      })
    )
  )

import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"
import { scopedUnlessFailed } from "./duplex.ts"
import { dialing, type Path } from "./hop.ts"
import * as Target from "./target.ts"

export interface Options {
  readonly minIdle: number
  readonly idleTimeToLive: Duration.Duration
  readonly maxTargets: number
  readonly healthCheck: (duplex: Duplex) => Effect.Effect<boolean>
}

/** A connection that nobody has used. */
interface Idle {
  readonly duplex: Duplex
  /** What it lives in, until it is closed or belongs to somebody. */
  readonly scope: Scope.Closeable
  /** Closes it when its time is over or the peer has ended. */
  readonly watch: Fiber.Fiber<void>
}

/** What is kept of a target. */
interface Kept {
  readonly idle: Set<Idle>
  /** How many are being dialled. */
  coming: number
}

const checkTimeout = Duration.seconds(1)

const isOpen = (duplex: Duplex) => !duplex.destroyed && !duplex.readableEnded && duplex.writable

/** Waits until the peer has ended the connection, or it is gone. What the peer says first stays in the stream. */
const ended = (duplex: Duplex) =>
  Effect.callback<void>((resume) => {
    const done = () => resume(Effect.void)
    if (!isOpen(duplex)) return done()
    // a stream notices its end when it is read
    const notice = () => {
      if (duplex.readableLength === 0) duplex.read(0)
    }
    duplex.on("readable", notice).once("end", done).once("close", done)
    return Effect.sync(() => void duplex.off("readable", notice).off("end", done).off("close", done))
  })

/** After this a stream flows again for who wants its data, where the last listener for `readable` has gone before. */
const settled = Effect.callback<void>((resume) => process.nextTick(() => resume(Effect.void)))

/** The path that has connections ready before they are asked for. */
export const keepWarm = Effect.fnUntraced(function*(below: Path, options: Options) {
  const layerScope = yield* Effect.scope
  // in the order of their last dials
  const targets = new Map<string, Kept>()

  const close = ({ scope, watch }: Idle) => Effect.andThen(Fiber.interrupt(watch), Scope.close(scope, Exit.void))

  yield* Effect.addFinalizer(() =>
    Effect.forEach([...targets.values()], ({ idle }) => Effect.forEach([...idle], close, { discard: true }), {
      discard: true
    })
  )

  /** What is kept of a target, which is now the one that was dialled last. */
  const keptOf = (name: string) =>
    Effect.suspend(() => {
      const kept = targets.get(name) ?? { idle: new Set(), coming: 0 }
      targets.delete(name)
      targets.set(name, kept)
      const [oldest] = targets
      if (targets.size <= options.maxTargets || oldest === undefined) return Effect.succeed(kept)
      targets.delete(oldest[0])
      return Effect.as(Effect.forEach([...oldest[1].idle], close, { discard: true }), kept)
    })

  const keep = Effect.fnUntraced(function*(duplex: Duplex, scope: Scope.Closeable, name: string, kept: Kept) {
    const forget = Effect.sync(() => {
      kept.idle.delete(idle)
      if (kept.idle.size + kept.coming === 0 && targets.get(name) === kept) targets.delete(name)
    })
    const watch = yield* ended(duplex).pipe(
      Effect.timeoutOption(options.idleTimeToLive),
      Effect.andThen(Effect.uninterruptible(Effect.andThen(forget, Scope.close(scope, Exit.void)))),
      Effect.forkIn(layerScope)
    )
    const idle: Idle = { duplex, scope, watch }
    kept.idle.add(idle)
  })

  /** Dials one connection and keeps it. That this fails is for the next dial to find out. */
  const addOne = (target: Target.Target, name: string, kept: Kept) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const exit = yield* Effect.exit(restore(Scope.provide(below.dial(target), scope)))
        kept.coming--
        if (Exit.isSuccess(exit) && targets.get(name) === kept) yield* keep(exit.value, scope, name, kept)
        else yield* Scope.close(scope, exit)
      })
    )

  const refill = (target: Target.Target, name: string, kept: Kept) =>
    Effect.suspend(() => {
      const missing = options.minIdle - kept.idle.size - kept.coming
      kept.coming += Math.max(0, missing)
      return Effect.forEach(
        Array.from({ length: Math.max(0, missing) }),
        () => Effect.forkIn(addOne(target, name, kept), layerScope),
        { discard: true }
      )
    })

  const isHealthy = (duplex: Duplex) =>
    Effect.map(
      Effect.timeoutOption(options.healthCheck(duplex), checkTimeout),
      (answer) => isOpen(duplex) && Option.getOrElse(answer, () => false)
    )

  /** One that is ready and healthy, which is the caller's from then on. */
  const take: (kept: Kept) => Effect.Effect<Duplex | undefined, never, Scope.Scope> = Effect.fnUntraced(
    function*(kept) {
      for (const idle of kept.idle) {
        kept.idle.delete(idle)
        const { duplex, scope, watch } = idle
        const taken = scopedUnlessFailed(Effect.gen(function*() {
          yield* Effect.uninterruptible(Effect.addFinalizer((exit) => Scope.close(scope, exit)))
          yield* Fiber.interrupt(watch)
          yield* settled
          return (yield* isHealthy(duplex)) ? duplex : yield* Effect.fail("unhealthy")
        }))
        const healthy = yield* Effect.option(taken)
        if (Option.isSome(healthy)) return healthy.value
      }
      return undefined
    }
  )

  const path: Path = {
    connectTimeout: below.connectTimeout,
    dial: dialing(
      "keep-warm",
      Effect.fnUntraced(function*(target, dialOptions) {
        const name = Target.format(target)
        const kept = yield* keptOf(name)
        const duplex = (yield* take(kept)) ?? (yield* below.dial(target, dialOptions))
        yield* refill(target, name, kept)
        return duplex
      })
    )
  }
  return path
})

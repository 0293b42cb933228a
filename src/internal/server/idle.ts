import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { Duplex } from "node:stream"

interface Watched {
  readonly progress: Effect.Effect<number>
  readonly report: () => void
  last: number
  since: number
}

/**
 * Bytes that the system has not taken yet. Node shows them for its own streams only, where one large piece that a slow
 * peer takes bit by bit is progress that no other number tells.
 */
const queued = (duplex: Duplex): number => {
  const handle: unknown = Reflect.get(duplex, "_handle")
  const size: unknown = typeof handle === "object" && handle !== null
    ? Reflect.get(handle, "writeQueueSize")
    : undefined
  return duplex.writableLength + (typeof size === "number" ? size : 0)
}

/** A number that changes whenever bytes go either way. */
export const progressOf = (
  stats: Effect.Effect<{ readonly bytesRead: number; readonly bytesWritten: number }>,
  duplex: Duplex
): Effect.Effect<number> =>
  Effect.map(stats, ({ bytesRead, bytesWritten }) => bytesRead + bytesWritten - queued(duplex))

/**
 * Interrupts fibers whose connections make no progress. It looks at all of them ten times within the timeout, which costs
 * a connection nothing while it is busy: one is found idle at most a tenth of the timeout late, and never early.
 */
export class IdleSweep {
  private readonly watched = new Map<Fiber.Fiber<unknown, unknown>, Watched>()
  private readonly timeout: number

  constructor(timeout: Duration.Input) {
    this.timeout = Duration.toMillis(timeout)
  }

  /** Watches the connection that `effect` serves. */
  watch<A, E, R>(
    effect: Effect.Effect<A, E, R>,
    progress: Effect.Effect<number>,
    report: () => void
  ): Effect.Effect<A, E, R> {
    return Effect.withFiber((fiber) =>
      Effect.flatMap(Clock.currentTimeMillis, (since) => {
        this.watched.set(fiber, { progress, report, last: Number.NaN, since })
        fiber.addObserver(() => this.watched.delete(fiber))
        return effect
      })
    )
  }

  private readonly sweep = Effect.flatMap(
    Clock.currentTimeMillis,
    (now) =>
      Effect.forEach(this.watched, ([fiber, entry]) =>
        Effect.map(entry.progress, (progress) => {
          if (progress !== entry.last) {
            entry.last = progress
            entry.since = now
          } else if (now - entry.since >= this.timeout) {
            entry.report()
            fiber.interruptUnsafe()
          }
        }), { discard: true })
  )

  /** Looks after the connections for as long as it runs. */
  get run(): Effect.Effect<never> {
    return Effect.forever(Effect.andThen(Effect.sleep(Duration.millis(this.timeout / 10)), this.sweep))
  }
}

import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"

type Asking = <A, E, R>(question: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

const Asking = Context.Reference<Asking>("hawser/internal/ssh/Asking", { defaultValue: () => (question) => question })

/** Asks somebody who may take their time: the time is not counted by the `within` around it. */
export const asking = <A, E, R>(question: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(Asking, (asking) => asking(question))

/** Limits the time of an effect, as `Effect.timeoutOrElse` does, without the time in which somebody is being asked. */
export const within = <A, E, R, E2>(
  effect: Effect.Effect<A, E, R>,
  duration: Duration.Duration,
  late: () => Effect.Effect<never, E2>
): Effect.Effect<A, E | E2, R> =>
  Effect.clockWith((clock: Clock.Clock) => {
    if (!Duration.isFinite(duration)) return effect
    const now = () => clock.currentTimeMillisUnsafe()
    const started = now()
    const nobodyAsked = Latch.makeUnsafe(true)
    let asked = 0
    // one at a time: the steps of a handshake follow each other
    const asking: Asking = (question) =>
      Effect.acquireUseRelease(
        Effect.sync(() => {
          nobodyAsked.closeUnsafe()
          return now()
        }),
        () => question,
        (since) =>
          Effect.sync(() => {
            asked += now() - since
            nobodyAsked.openUnsafe()
          })
      )
    const alarm = Effect.gen(function*() {
      for (let left: number; (left = Duration.toMillis(duration) - (now() - started - asked)) > 0;) {
        yield* Effect.sleep(left)
        yield* Latch.await(nobodyAsked)
      }
      return yield* late()
    })
    return Effect.raceFirst(Effect.provideService(effect, Asking, asking), alarm)
  })

import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { DialError, NameNotFound } from "../../../errors/DialError.ts"
import * as Resolve from "../../net/resolve.ts"
import * as Target from "../../net/target.ts"

/** The addresses of a name, asked for again and again; fails when there is none. */
export const dns = (
  name: string,
  port: number,
  { interval, resolver }: {
    readonly interval: Duration.Duration
    readonly resolver: Resolve.Resolver
  }
): Stream.Stream<ReadonlyArray<Target.Target>, DialError> => {
  const lookup = Effect.gen(function*() {
    const answers = yield* Effect.forEach(resolver(name, port), Effect.result, { concurrency: "unbounded" })
    const targets = answers.flatMap((answer) =>
      Result.isFailure(answer)
        ? []
        : answer.success.flatMap((address) => Option.toArray(Option.getSuccess(Target.parse(address))))
    )
    if (targets.length > 0) return targets
    const reason = Resolve.mostHopeful(answers.flatMap((answer) => Result.isFailure(answer) ? [answer.failure] : [])) ??
      new NameNotFound({ name, code: "NotFound" })
    return yield* new DialError({ target: `${name}:${port}`, hop: "dns", reason })
  })
  return Stream.fromEffectSchedule(lookup, Schedule.spaced(interval))
}

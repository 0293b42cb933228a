import type * as DateTime from "effect/DateTime"
import type * as EffectDuration from "effect/Duration"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { durationOf, firstSecond, lastSecond, longest, nanosOf, timestampOf } from "./wellKnown/time.ts"

/** A `google.protobuf.Timestamp` or `google.protobuf.Duration` as messages have it. */
export interface SecondsAndNanos {
  readonly seconds: bigint
  readonly nanos: number
}

const parts = (minimum: bigint, maximum: bigint, leastNanos: number) =>
  Schema.Struct({
    seconds: Schema.BigInt.check(Schema.isBetweenBigInt({ minimum, maximum })),
    nanos: Schema.Int.check(Schema.isBetween({ minimum: leastNanos, maximum: 999_999_999 }))
  })

export const Timestamp: Schema.Codec<DateTime.Utc, SecondsAndNanos> = parts(firstSecond, lastSecond, 0).pipe(
  Schema.decodeTo(
    Schema.DateTimeUtcFromMillis,
    SchemaTransformation.transform({
      decode: ({ nanos, seconds }) => Number(seconds) * 1000 + Math.floor(nanos / 1_000_000),
      encode: (milliseconds) => timestampOf(milliseconds)
    })
  )
)

export const Duration: Schema.Codec<EffectDuration.Duration, SecondsAndNanos> = parts(-longest, longest, -999_999_999)
  .pipe(
    Schema.decodeTo(Schema.DurationFromNanos, SchemaTransformation.transform({ decode: nanosOf, encode: durationOf }))
  )

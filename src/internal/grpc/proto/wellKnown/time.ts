import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import { isFields } from "../codec/fields.ts"
import { kindOf, valueOf, wrong } from "../codec/problem.ts"
import { integerOf } from "../codec/scalars.ts"
import type { Form } from "./form.ts"

const form = { isObject: true, showsFields: true, takesNull: false, merges: true }

const second = 1_000_000_000n

/** From year 1 to the end of year 9999. */
export const firstSecond = -62_135_596_800n
export const lastSecond = 253_402_300_799n

export const timestampOf = (milliseconds: number, nanos = 0) => {
  const seconds = Math.floor(milliseconds / 1000)
  return { seconds: BigInt(seconds), nanos: Math.floor(milliseconds - seconds * 1000) * 1_000_000 + nanos }
}

const rfc3339 =
  /^(\d{4}-\d{2}-\d{2})[Tt]((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)(?:\.(\d{1,9}))?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/

const fractionOf = (digits: string | undefined) => Number((digits ?? "").padEnd(9, "0"))

const parseTimestamp = (text: string) => {
  const [, date, time, fraction, zone] = rfc3339.exec(text) ?? []
  const midnight = new Date(`${date}T00:00:00Z`)
  // a day that its month does not have would become one of the next month
  return Number.isNaN(midnight.getTime()) || midnight.toISOString().slice(0, 10) !== date
    ? undefined
    : timestampOf(Date.parse(`${date}T${time}${zone?.toUpperCase()}`), fractionOf(fraction))
}

/** Seconds and nanoseconds of what was given as such; what are no numbers is left to the fields. */
const partsOf = (given: object): readonly [seconds: bigint, nanos: bigint] => {
  const { nanos, seconds }: { seconds?: unknown; nanos?: unknown } = given
  return [integerOf(seconds ?? 0) ?? 0n, integerOf(nanos ?? 0) ?? 0n]
}

const checkTimestamp = (given: object) => {
  const [seconds, nanos] = partsOf(given)
  if (seconds < firstSecond || seconds > lastSecond) {
    throw wrong("between the years 1 and 9999", `${seconds} seconds from 1970`)
  }
  if (nanos < 0n || nanos >= second) throw wrong("between 0 and 999999999", String(nanos)).within("nanos")
  return given
}

export const timestamp: Form = {
  ...form,
  toFields: (given) => {
    if (given instanceof Date) {
      if (Number.isNaN(given.getTime())) throw wrong("a Date that is one", "an invalid Date")
      return checkTimestamp(timestampOf(given.getTime()))
    }
    if (DateTime.isDateTime(given)) return checkTimestamp(timestampOf(DateTime.toEpochMillis(given)))
    if (typeof given === "string") {
      const parsed = parseTimestamp(given)
      if (parsed === undefined) throw wrong(`RFC 3339 text such as "2026-01-31T12:00:00.5Z"`, valueOf(given))
      return checkTimestamp(parsed)
    }
    if (!isFields(given)) throw wrong("{ seconds, nanos }, a Date, a DateTime or RFC 3339 text", kindOf(given))
    return checkTimestamp(given)
  },
  fromFields: (fields) => fields
}

/** About 10,000 years. */
export const longest = 315_576_000_000n

export const durationOf = (nanos: bigint) => ({ seconds: nanos / second, nanos: Number(nanos % second) })

export const nanosOf = ({ nanos, seconds }: { readonly seconds: bigint; readonly nanos: number }) =>
  seconds * second + BigInt(nanos)

const parseDuration = (text: string) => {
  const [, sign, seconds, fraction] = /^(-?)(\d{1,12})(?:\.(\d{1,9}))?s$/.exec(text) ?? []
  if (seconds === undefined) return undefined
  const nanos = BigInt(seconds) * second + BigInt(fractionOf(fraction))
  return durationOf(sign === "-" ? -nanos : nanos)
}

const checkDuration = (given: object) => {
  const [seconds, nanos] = partsOf(given)
  if (seconds < -longest || seconds > longest) {
    throw wrong(`between -${longest} and ${longest} seconds`, `${seconds} seconds`)
  }
  if (nanos <= -second || nanos >= second) {
    throw wrong("between -999999999 and 999999999", String(nanos)).within("nanos")
  }
  if ((seconds < 0n && nanos > 0n) || (seconds > 0n && nanos < 0n)) {
    throw wrong("of the sign of the seconds", String(nanos)).within("nanos")
  }
  return given
}

export const duration: Form = {
  ...form,
  toFields: (given) => {
    if (Duration.isDuration(given)) {
      const nanos = Duration.toNanos(given)
      if (Option.isNone(nanos)) throw wrong("a finite Duration", "an infinite one")
      return checkDuration(durationOf(nanos.value))
    }
    if (typeof given === "string") {
      const parsed = parseDuration(given)
      if (parsed === undefined) throw wrong(`seconds such as "1.5s"`, valueOf(given))
      return checkDuration(parsed)
    }
    if (!isFields(given)) throw wrong(`{ seconds, nanos }, a Duration or text such as "1.5s"`, kindOf(given))
    return checkDuration(given)
  },
  fromFields: (fields) => fields
}

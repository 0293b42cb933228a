import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { GrpcDetail } from "../../../errors/GrpcDetail.ts"
import { builtIn } from "../proto/builtIn.ts"
import { rpc } from "../proto/definitions/rpc.ts"
import type { Values } from "../proto/schema.ts"

/** The trailer that details come in: the bytes of a `google.rpc.Status`. */
export const detailsTrailer = "grpc-status-details-bin"

const packageName = "google.rpc."

// read for the first error that has details
const codec = (name: string) =>
  Result.getOrThrow(builtIn("google/rpc/error_details.proto", rpc).message(packageName + name))

const types: ReadonlySet<string> = new Set(
  [
    "BadRequest",
    "RetryInfo",
    "ErrorInfo",
    "DebugInfo",
    "QuotaFailure",
    "PreconditionFailure",
    "RequestInfo",
    "ResourceInfo",
    "Help",
    "LocalizedMessage"
  ] satisfies ReadonlyArray<GrpcDetail["_tag"]>
)

const perSecond = 1_000_000_000n

// about ten thousand years: the range of google.protobuf.Duration
const maximum = Duration.seconds(315_576_000_000)
const minimum = Duration.negate(maximum)

const toDelay = (duration: Duration.Duration) => {
  const nanos = Duration.toNanosUnsafe(Duration.clamp(duration, { minimum, maximum }))
  return { seconds: nanos / perSecond, nanos: nanos % perSecond }
}

const hasDelay = Schema.is(Schema.Struct({
  retryDelay: Schema.Struct({ seconds: Schema.BigInt, nanos: Schema.Int })
}))

const fromDelay = (values: Values) => {
  if (!hasDelay(values)) return Duration.zero
  const { nanos, seconds } = values.retryDelay
  const exact = seconds * perSecond + BigInt(nanos)
  return exact % 1_000_000n === 0n ? Duration.millis(Number(exact / 1_000_000n)) : Duration.nanos(exact)
}

/** What UTF-8 cannot hold becomes U+FFFD, at any depth: better an error told a little wrong than none. */
const wellFormed = (value: unknown): unknown => {
  if (typeof value === "string") return wellFormedText(value)
  if (Array.isArray(value)) return value.map(wellFormed)
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value
  return wellFormedFields(value)
}

const wellFormedText = (text: string) => text.replaceAll(/\p{Surrogate}/gu, "\uFFFD")

const wellFormedFields = (value: object): object =>
  Object.fromEntries(Object.entries(value).map(([name, inner]) => [wellFormedText(name), wellFormed(inner)]))

const pack = (detail: GrpcDetail) => {
  if (detail._tag === "Other") return { typeUrl: detail.typeUrl, value: detail.value }
  const { _tag, ...fields } = detail
  const message = _tag === "RetryInfo" ? { retryDelay: toDelay(detail.retryDelay) } : fields
  return { typeUrl: `type.googleapis.com/${packageName}${_tag}`, value: bytesOf(_tag, message) }
}

const bytesOf = (name: string, message: object) => Result.getOrThrow(codec(name).encode(wellFormedFields(message)))

/** The value of the trailer for a status that has details. */
export const encode = (code: number, message: string, details: ReadonlyArray<GrpcDetail>): Uint8Array =>
  bytesOf("Status", { code, message, details: details.map(pack) })

interface Packed {
  readonly typeUrl: string
  readonly value: Uint8Array
}

const hasDetails = Schema.is(Schema.Struct({
  details: Schema.Array(Schema.Struct({ typeUrl: Schema.String, value: Schema.Uint8Array }))
}))

const isDetail = Schema.is(GrpcDetail)

const unpack = ({ typeUrl, value }: Packed): GrpcDetail => {
  const other: GrpcDetail = { _tag: "Other", typeUrl, value }
  const name = typeUrl.slice(typeUrl.lastIndexOf("/") + 1)
  const _tag = name.slice(packageName.length)
  if (!name.startsWith(packageName) || !types.has(_tag)) return other
  const values = Result.getOrUndefined(codec(_tag).decode(value))
  if (values === undefined) return other
  const detail = _tag === "RetryInfo" ? { _tag, retryDelay: fromDelay(values) } : { _tag, ...values }
  return isDetail(detail) ? detail : other
}

/** The details in the value of the trailer; none when it is not a `google.rpc.Status`. Its code and message are not used. */
export const decode = (bytes: Uint8Array): ReadonlyArray<GrpcDetail> => {
  const status = Result.getOrUndefined(codec("Status").decode(bytes))
  return status !== undefined && hasDetails(status) ? status.details.map(unpack) : []
}

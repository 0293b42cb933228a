import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { Metadata } from "../../../errors/GrpcError.ts"
import { GrpcSchemaError, WrongType } from "../../../errors/GrpcSchemaError.ts"

/** One value of metadata: text, or bytes for names that end in `-bin`. */
export type MetadataValue = string | Uint8Array | Redacted.Redacted

/** Metadata to send. A name can have several values. */
export interface MetadataInput {
  readonly [name: string]: MetadataValue | ReadonlyArray<MetadataValue> | undefined
}

/** Headers for `node:http2`. */
export type OutgoingHeaders = Record<string, string | Array<string>>

/** Headers as they came: names and values in turn. */
export type RawHeaders = ReadonlyArray<string>

const isMany = (
  value: MetadataValue | ReadonlyArray<MetadataValue>
): value is ReadonlyArray<MetadataValue> => Array.isArray(value)

/** What HTTP/2 and gRPC say in headers themselves, and no program may. */
const reserved = new Set([
  "connection",
  "content-length",
  "content-type",
  "grpc-accept-encoding",
  "grpc-encoding",
  "grpc-message",
  "grpc-message-type",
  "grpc-status",
  "grpc-timeout",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-connection",
  "te",
  "transfer-encoding",
  "upgrade",
  "user-agent"
])

/** Headers of which HTTP knows only one: `node:http2` throws at a second. */
const once = new Set([
  "access-control-allow-credentials",
  "access-control-max-age",
  "access-control-request-method",
  "age",
  "authorization",
  "content-encoding",
  "content-language",
  "content-location",
  "content-md5",
  "content-range",
  "date",
  "dnt",
  "etag",
  "expires",
  "from",
  "if-match",
  "if-modified-since",
  "if-none-match",
  "if-range",
  "if-unmodified-since",
  "last-modified",
  "location",
  "max-forwards",
  "proxy-authorization",
  "range",
  "referer",
  "retry-after",
  "tk",
  "upgrade-insecure-requests",
  "x-content-type-options"
])

const wrong = (name: string, expected: string) =>
  new GrpcSchemaError({
    // the value may be a password
    reason: new WrongType({ path: `metadata.${name}`, expected, got: "something else" })
  })

const asText = (name: string, value: MetadataValue): string | undefined => {
  const plain = Redacted.isRedacted(value) ? Redacted.value(value) : value
  if (name.endsWith("-bin")) {
    return typeof plain === "string"
      ? undefined
      : Buffer.from(plain.buffer, plain.byteOffset, plain.byteLength).toString("base64").replace(/=+$/, "")
  }
  return typeof plain === "string" && /^(?:[!-~](?:[ -~]*[!-~])?)?$/.test(plain) ? plain : undefined
}

/** Adds metadata to headers, after what is there already; what cannot be sent is named. */
export const addMetadata = (
  headers: OutgoingHeaders,
  input: MetadataInput | undefined
): Result.Result<void, GrpcSchemaError> => {
  if (input === undefined) return Result.void
  for (const key of Object.keys(input)) {
    const given = input[key]
    if (given === undefined) continue
    const name = key.toLowerCase()
    // the one name that an object would not take
    if (!/^[0-9a-z_.-]+$/.test(name) || name === "__proto__") {
      return Result.fail(wrong(key, "under a name of letters, digits, _, - and ."))
    }
    if (reserved.has(name)) return Result.fail(wrong(key, "under a name that gRPC does not use itself"))
    for (const value of isMany(given) ? given : [given]) {
      const text = asText(name, value)
      if (text === undefined) {
        return Result.fail(wrong(
          key,
          name.endsWith("-bin")
            ? "bytes"
            : "printable ASCII without spaces around it, or bytes under a name that ends in -bin"
        ))
      }
      const before = Object.hasOwn(headers, name) ? headers[name] : undefined
      if (before === undefined) headers[name] = text
      else if (once.has(name)) return Result.fail(wrong(key, "given once"))
      else if (Array.isArray(before)) before.push(text)
      else headers[name] = [before, text]
    }
  }
  return Result.void
}

/** The first value of a header. */
export const single = (headers: RawHeaders, name: string): string | undefined => {
  for (let at = 0; at < headers.length; at += 2) if (headers[at] === name) return headers[at + 1]
  return undefined
}

/** The values under a name, which can be `__proto__`: the peer chooses it. */
const valuesOf = <A>(record: Record<string, Array<A>>, name: string): Array<A> => {
  if (Object.hasOwn(record, name)) return record[name]!
  const value: Array<A> = []
  Object.defineProperty(record, name, { value, enumerable: true, configurable: true, writable: true })
  return value
}

/** What the peer's program said in headers, without what HTTP/2 and gRPC said. */
export const decodeMetadata = (headers: RawHeaders = []): Metadata => {
  const text: Record<string, Array<string>> = {}
  const binary: Record<string, Array<Uint8Array>> = {}
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at]!
    const value = headers[at + 1]!
    if (name.startsWith(":") || (reserved.has(name) && name !== "user-agent")) continue
    if (name.endsWith("-bin")) {
      // several can be joined by commas, and padding is as the sender likes
      const values = valuesOf(binary, name)
      for (const part of value.split(",")) values.push(new Uint8Array(Buffer.from(part.trim(), "base64")))
    } else valuesOf(text, name).push(value)
  }
  return { text, binary }
}

import * as Effect from "effect/Effect"
import * as Zlib from "node:zlib"

/** How a message is packed: what `grpc-encoding` says. gRPC's `deflate` is the format of zlib (RFC 1950). */
export type Compression = "identity" | "gzip" | "deflate"

/** What this side can unpack, as `grpc-accept-encoding` says it. */
export const acceptEncoding = "identity,deflate,gzip"

/** Understands `grpc-encoding`. */
export const compressionOf = (header: string | undefined): Compression | undefined => {
  if (header === undefined || header === "identity") return "identity"
  return header === "gzip" || header === "deflate" ? header : undefined
}

type Unpacking = { readonly _tag: "TooLarge" } | { readonly _tag: "Corrupt"; readonly detail: string }

/** Packs one message. */
export const compress = (message: Uint8Array, compression: "gzip" | "deflate"): Effect.Effect<Uint8Array> =>
  Effect.callback((resume) => {
    const done = (error: Error | null, packed: Uint8Array) =>
      // only a lack of memory can be wrong
      resume(error === null ? Effect.succeed(packed) : Effect.die(error))
    if (compression === "gzip") Zlib.gzip(message, done)
    else Zlib.deflate(message, done)
  })

/** Unpacks one message, and stops where it becomes larger than `maxSize`. */
export const decompress = (
  message: Uint8Array,
  compression: "gzip" | "deflate",
  maxSize: number
): Effect.Effect<Uint8Array, Unpacking> =>
  Effect.callback((resume) => {
    const done = (error: NodeJS.ErrnoException | null, unpacked: Uint8Array) =>
      resume(
        error === null
          ? Effect.succeed(unpacked)
          : Effect.fail(
            error.code === "ERR_BUFFER_TOO_LARGE" ? { _tag: "TooLarge" } : { _tag: "Corrupt", detail: error.message }
          )
      )
    // zlib wants at least one byte of room
    const options = { maxOutputLength: Math.max(1, maxSize) }
    if (compression === "gzip") Zlib.gunzip(message, options, done)
    else Zlib.inflate(message, options, done)
  })

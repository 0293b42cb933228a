import * as Effect from "effect/Effect"
import * as Zlib from "node:zlib"
import { isSettling } from "../../net/realTime.ts"

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

type Options = Pick<Zlib.ZlibOptions, "maxOutputLength">

interface Work {
  readonly inParallel: (
    bytes: Uint8Array,
    options: Options,
    done: (error: NodeJS.ErrnoException | null, result: Uint8Array) => void
  ) => void
  readonly atOnce: (bytes: Uint8Array, options: Options) => Uint8Array
}

const packing: Readonly<Record<"gzip" | "deflate", Work>> = {
  gzip: { inParallel: Zlib.gzip, atOnce: Zlib.gzipSync },
  deflate: { inParallel: Zlib.deflate, atOnce: Zlib.deflateSync }
}

const unpacking: Readonly<Record<"gzip" | "deflate", Work>> = {
  gzip: { inParallel: Zlib.gunzip, atOnce: Zlib.gunzipSync },
  deflate: { inParallel: Zlib.inflate, atOnce: Zlib.inflateSync }
}

const problemOf = (error: unknown): Unpacking => {
  const { code, message }: NodeJS.ErrnoException = error instanceof Error ? error : new Error(String(error))
  return code === "ERR_BUFFER_TOO_LARGE" ? { _tag: "TooLarge" } : { _tag: "Corrupt", detail: message }
}

/** On another thread, except under a clock that waits for all that moves: nobody can see what other threads do. */
const run = ({ atOnce, inParallel }: Work, bytes: Uint8Array, options: Options): Effect.Effect<Uint8Array, Unpacking> =>
  Effect.clockWith((clock) =>
    isSettling(clock)
      ? Effect.try({ try: () => atOnce(bytes, options), catch: problemOf })
      : Effect.callback((resume) =>
        inParallel(
          bytes,
          options,
          (error, result) => resume(error === null ? Effect.succeed(result) : Effect.fail(problemOf(error)))
        )
      )
  )

/** Packs one message. */
export const compress = (message: Uint8Array, compression: "gzip" | "deflate"): Effect.Effect<Uint8Array> =>
  // only a lack of memory can be wrong
  Effect.orDie(run(packing[compression], message, {}))

/** Unpacks one message, and stops where it becomes larger than `maxSize`. */
export const decompress = (
  message: Uint8Array,
  compression: "gzip" | "deflate",
  maxSize: number
): Effect.Effect<Uint8Array, Unpacking> =>
  // zlib wants at least one byte of room
  run(unpacking[compression], message, { maxOutputLength: Math.max(1, maxSize) })

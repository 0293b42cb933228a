import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import * as Crypto from "node:crypto"
import type { Source } from "./file.ts"
import type { Chunks } from "./files.ts"

/** How bytes become a file. */
export interface DataShape {
  readonly mode?: number | undefined
  readonly size?: number | undefined
}

const attributesOf = (size: number, { mode = 0o644 }: DataShape) => ({
  type: "File" as const,
  size,
  mode,
  atime: 0,
  mtime: 0
})

const hashOf = (bytes: Uint8Array) => Crypto.createHash("sha256").update(bytes).digest("hex")

/** Bytes that become a file. */
export const fromBytes = (bytes: Uint8Array, shape: DataShape): Source<never> => ({
  attributes: attributesOf(bytes.length, shape),
  mode: shape.mode,
  readAll: Effect.succeed(bytes),
  read: () =>
    Effect.sync(() => {
      let taken = false
      return Effect.suspend((): Pull.Pull<Chunks> => {
        if (taken) return Cause.done()
        taken = true
        return Effect.succeed(Arr.of(bytes))
      })
    }),
  sha256: Effect.sync(() => hashOf(bytes))
})

/** A stream that becomes a file. It is read once, and its checksum is known when it has been. */
export const fromStream = <E, R>(stream: Stream.Stream<Uint8Array, E, R>, shape: DataShape): Source<E, R> => {
  const hash = Crypto.createHash("sha256")
  const hashed = Stream.tap(stream, (bytes) => Effect.sync(() => hash.update(bytes)))
  return {
    attributes: attributesOf(shape.size ?? -1, shape),
    mode: shape.mode,
    readAll: Effect.map(Stream.runCollect(hashed), (pieces) => Buffer.concat(pieces)),
    read: () => Stream.toPull(hashed),
    sha256: Effect.sync(() => hash.digest("hex"))
  }
}

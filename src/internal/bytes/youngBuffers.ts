import * as V8 from "node:v8"

/** A copy of this takes as much of the heap as a piece of a transfer takes beside it. */
const weight: ReadonlyArray<number> = Array.from({ length: 4096 }, () => 0)
const unit = 8 * weight.length

const MiB = 1024 * 1024
/** After how many bytes it is looked again how large the young part of the heap is. */
const lookAfter = 16 * MiB
/** A young part that is smaller than this is full often enough. */
const large = 8 * MiB

let untold = 0
let untilLook = 0
let needed = false
/** Held for a moment, or it would not be made at all. */
const ballast: { last: ReadonlyArray<number> | undefined } = { last: undefined }

const isLarge = (): boolean =>
  V8.getHeapSpaceStatistics().some(({ space_name, space_size }) => space_name === "new_space" && space_size >= large)

/**
 * Says that so many bytes go through buffers that are soon let go, as in a transfer, so that these are found while they are
 * young.
 *
 * The memory of a buffer lies beside V8's heap. What lies there makes V8 collect the whole heap about every 32 MiB, which
 * costs as much as to decrypt those bytes. To collect what is young costs next to nothing and finds the same buffers, but that
 * is done when the young part of the heap is full, which takes long where a program has made it grow, as loading a large one
 * does: the bytes are not there. So for what goes through beside the heap, as much garbage goes through it then.
 */
export const passYoung = (bytes: number): void => {
  untilLook -= bytes
  if (untilLook < 0) {
    untilLook = lookAfter
    needed = isLarge()
  }
  if (!needed) return
  for (untold += bytes; untold >= unit; untold -= unit) ballast.last = weight.slice()
  ballast.last = undefined
}

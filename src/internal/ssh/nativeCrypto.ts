import * as Effect from "effect/Effect"
import { isNative, refused } from "./ssh2.ts"

let reported = false

/** ssh2 falls back to JavaScript without a word when its native part was not built; the same, and slower. */
export const report = Effect.suspend(() => {
  if (reported) return Effect.void
  reported = true
  return isNative() !== false
    ? Effect.void
    : Effect.logDebug(
      refused
        ? "ssh2 runs without its native crypto, which is not safe as this version of Node compiles it"
        : "ssh2 runs without its native crypto (run `npm rebuild ssh2` with a C++ compiler to get it)"
    )
})

/** Which crypto ssh2 works with: compiled for this Node, or written in JavaScript, with which it makes do otherwise. */
import { createRequire } from "node:module"

/** It has to be loaded by Hawser, which keeps it from what was compiled in a way that is not safe. */
export const conditions = (): string => {
  const crypto: { readonly bindingAvailable: boolean } = createRequire(import.meta.url)("ssh2/lib/protocol/crypto.js")
  return crypto.bindingAvailable
    ? "ssh2 with native crypto"
    : "ssh2 with crypto in JavaScript: node scripts/ssh2-native.mjs builds the native one"
}

/** A module to load first, after which ssh2 finds nothing that was compiled. */
export const javaScript: string = new URL("withoutNative.ts", import.meta.url).href

import * as Fs from "node:fs"
import { createRequire, Module } from "node:module"

const require = createRequire(import.meta.url)

/**
 * Keeps ssh2 from loading its native crypto where that would end the process.
 *
 * With the headers of some versions of Node (24.19 and later), a native object that is collected takes back a hook from the
 * running environment, and Node aborts when there is none at that moment. ssh2's ciphers are such objects. What was
 * compiled that way names the function; ssh2 then works in JavaScript, the same and slower.
 */
const refuse = (): boolean => {
  let path
  try {
    path = require.resolve("ssh2/lib/protocol/crypto/build/Release/sshcrypto.node")
  } catch {
    return false
  }
  if (!Fs.readFileSync(path).includes("RemoveEnvironmentCleanupHook")) return false
  // ssh2 asks for it once, while it is loaded, and takes any failure for an answer
  require.cache[path] ??= Object.defineProperty(new Module(path), "exports", {
    get: () => {
      throw new Error("not safe with this version of Node")
    }
  })
  return true
}

/** Whether there is a native part that cannot be used. */
export const refused = refuse()

/** Whether ssh2 works with its native part, or `undefined` where it does not say. It has to be loaded by now. */
export const isNative = (): boolean | undefined => {
  try {
    const crypto: { readonly bindingAvailable?: boolean } = require("ssh2/lib/protocol/crypto.js")
    return crypto.bindingAvailable
  } catch {
    return undefined
  }
}

/** Has ssh2 work in JavaScript: it asks for what was compiled once, and takes any failure for an answer. */
import { registerHooks } from "node:module"

registerHooks({
  resolve: (specifier, context, next) => {
    if (specifier.endsWith("/sshcrypto.node")) throw new Error("hidden")
    return next(specifier, context)
  }
})

/** Lets a plain `node` run the examples against the sources: `node --import ./test/support/source.ts examples/x.ts`. */
import { registerHooks } from "node:module"

const sources = new Map([
  ["hawser", new URL("../../src/index.ts", import.meta.url).href],
  ["hawser/testing", new URL("../../src/testing/index.ts", import.meta.url).href]
])

registerHooks({
  resolve: (specifier, context, next) => next(sources.get(specifier) ?? specifier, context)
})

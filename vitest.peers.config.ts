import { defineConfig } from "vitest/config"
import base from "./vitest.config.ts"

// not mergeConfig: that appends to the lists of files, and here they are others
export default defineConfig({
  ...base,
  test: {
    include: ["test/peers/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000
  }
})

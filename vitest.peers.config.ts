import { mergeConfig } from "vitest/config"
import base from "./vitest.config.ts"

export default mergeConfig(base, {
  test: {
    include: ["test/peers/**/*.test.ts"],
    exclude: [],
    typecheck: { enabled: false },
    testTimeout: 60_000,
    hookTimeout: 60_000
  }
})

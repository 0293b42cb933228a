import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const source = (path: string) => fileURLToPath(new URL(path, import.meta.url))

export default defineConfig({
  resolve: {
    alias: [
      { find: /^hawser\/testing$/, replacement: source("src/testing/index.ts") },
      { find: /^hawser$/, replacement: source("src/index.ts") }
    ]
  },
  test: {
    include: ["test/**/*.test.ts", "examples/testing/*.test.ts"],
    exclude: ["test/peers/**"],
    // a busy machine is no failure; what hangs is found all the same
    testTimeout: 30_000,
    typecheck: { enabled: true, include: ["test/**/*.test-d.ts"], tsconfig: "tsconfig.json" },
    coverage: { include: ["src/**"], reporter: ["text-summary", "html"] }
  }
})

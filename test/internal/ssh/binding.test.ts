import { assert, describe, it } from "@effect/vitest"
import { existsSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { isNative, refused } from "../../../src/internal/ssh/ssh2.ts"

const compiled = fileURLToPath(
  new URL("../../../node_modules/ssh2/lib/protocol/crypto/build/Release/sshcrypto.node", import.meta.url)
)

describe("ssh2Binding", () => {
  it("does not let ssh2 use native crypto that ends the process when it is collected", () => {
    const isDangerous = existsSync(compiled) && readFileSync(compiled).includes("RemoveEnvironmentCleanupHook")
    assert.strictEqual(refused, isDangerous)
    assert.isFalse(isDangerous && isNative())
  })

  it("knows whether ssh2 uses its native crypto", () => {
    assert.isBoolean(isNative())
  })
})

import { assert, describe, it } from "@effect/vitest"
import { TlsConfigError } from "../../src/errors/TlsConfigError.ts"

describe("TlsConfigError", () => {
  it("names the option and what to mend", () => {
    const cause = new Error("ENOENT")
    const error = new TlsConfigError({ option: "ca", detail: "cannot read the file \"x\"", cause })
    assert.strictEqual(error.message, "TLS option \"ca\": cannot read the file \"x\"")
    assert.strictEqual(error.cause, cause)
  })
})

import { assert, describe, it } from "@effect/vitest"
import { hostKeyOffer } from "../../../src/internal/ssh/client.ts"

describe("the offer of host key algorithms", () => {
  it("begins with the types that are known, and leaves out none of the others", () => {
    const all = hostKeyOffer([])
    assert.strictEqual(all[0], "ssh-ed25519")
    assert.deepStrictEqual(hostKeyOffer(["ssh-rsa"]).slice(0, 2), ["rsa-sha2-512", "rsa-sha2-256"])
    assert.strictEqual(hostKeyOffer(["ecdsa-sha2-nistp521"])[0], "ecdsa-sha2-nistp521")
    for (const types of [["ssh-rsa"], ["ssh-dss"], ["ssh-ed25519", "ecdsa-sha2-nistp256"]]) {
      assert.sameMembers(hostKeyOffer(types), all)
    }
  })

  it("never has signatures with SHA-1 in it", () => {
    for (const types of [[], ["ssh-rsa"], ["ssh-dss"]]) assert.notInclude<string>(hostKeyOffer(types), "ssh-rsa")
  })
})

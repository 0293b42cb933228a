import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { ChannelRefused, ConnectionLost } from "../../../../src/errors/SshError.ts"
import * as Target from "../../../../src/internal/net/target.ts"
import { reasonOf } from "../../../../src/internal/ssh/forward/direct.ts"

const db = Result.getOrThrow(Target.parse("db:5432"))

describe("what a server says about a target", () => {
  it("is understood in OpenSSH's words", () => {
    const refusal = (detail: string) => {
      const { _tag, ...reason } = reasonOf(new ChannelRefused({ code: 2, detail }), db)
      return [_tag, "code" in reason ? reason.code : undefined]
    }
    assert.deepStrictEqual(refusal("Connection refused"), ["Refused", undefined])
    assert.deepStrictEqual(refusal("Name or service not known"), ["NameNotFound", "ENOTFOUND"])
    assert.deepStrictEqual(refusal("Temporary failure in name resolution"), ["NameNotFound", "EAI_AGAIN"])
    assert.deepStrictEqual(refusal("No route to host"), ["Unreachable", "EHOSTUNREACH"])
    assert.deepStrictEqual(refusal("Network is unreachable"), ["Unreachable", "ENETUNREACH"])
    assert.deepStrictEqual(refusal("Connection timed out"), ["Unreachable", "ETIMEDOUT"])
    assert.deepStrictEqual(refusal("open failed"), ["TunnelRefused", undefined])
  })

  it("names the target, or the tunnel that is gone", () => {
    const refused = reasonOf(new ChannelRefused({ code: 2, detail: "Connection refused" }), db)
    assert.include(refused.message, "db:5432")
    const lost = reasonOf(new ConnectionLost({ detail: "Keepalive timeout" }), db)
    assert.include(lost.message, "the SSH connection is gone: Keepalive timeout")
  })
})

import { assert, describe, it } from "@effect/vitest"
import * as NetAddress from "effect/net/NetAddress"
import * as Result from "effect/Result"
import * as Target from "../../../src/internal/net/target.ts"

const understood = (input: Target.DialTarget) =>
  Result.match(Target.parse(input), {
    onSuccess: (target) => [Target.format(target), Target.hostOf(target)],
    onFailure: (reason) => reason.message
  })

describe("parse", () => {
  it("understands every form of a target", () => {
    assert.deepStrictEqual(understood("db:5432"), ["db:5432", "db"])
    assert.deepStrictEqual(understood("DB.Example:5432"), ["db.example:5432", "db.example"])
    assert.deepStrictEqual(understood({ host: "db", port: 1 }), ["db:1", "db"])
    assert.deepStrictEqual(understood("127.0.0.1:65535"), ["127.0.0.1:65535", "127.0.0.1"])
    assert.deepStrictEqual(understood("[::1]:80"), ["[::1]:80", "::1"])
    assert.deepStrictEqual(understood({ host: "::1", port: 80 }), ["[::1]:80", "::1"])
    assert.deepStrictEqual(understood({ path: "/run/db.sock" }), ["/run/db.sock", "localhost"])
    assert.deepStrictEqual(understood(NetAddress.unixPathAddress("/run/db.sock")), ["/run/db.sock", "localhost"])
    assert.deepStrictEqual(
      understood(NetAddress.inetAddressFromNativeUnsafe("127.0.0.1", 80)),
      ["127.0.0.1:80", "127.0.0.1"]
    )
    assert.deepStrictEqual(understood(NetAddress.inetAddressFromNativeUnsafe("::1", 80)), ["[::1]:80", "::1"])
  })
  for (
    const input of [
      "",
      "db",
      "db:",
      ":80",
      "db:http",
      "db:-1",
      "db:65536",
      "::1:80x",
      "[::1",
      { host: "", port: 80 },
      { host: "db", port: 65536 },
      { host: "db", port: 1.5 },
      { host: "a b", port: 80 }
    ]
  ) {
    it(`refuses ${JSON.stringify(input)} and says why`, () => {
      const parsed = Target.parse(input)
      assert.isTrue(Result.isFailure(parsed))
      if (Result.isFailure(parsed)) {
        assert.strictEqual(parsed.failure.input, typeof input === "string" ? input : `${input.host}:${input.port}`)
        assert.notStrictEqual(parsed.failure.why, "")
        assert.isFalse(parsed.failure.isRetryable)
      }
    })
  }
  it("refuses port 0 and an empty path, which can be dialled by nobody", () => {
    assert.strictEqual(understood("db:0"), "\"db:0\" is not usable: port 0 cannot be dialled")
    assert.strictEqual(understood({ path: "" }), "\"\" is not usable: the socket path is empty")
  })
  it("refuses paths that the system would cut off", () => {
    assert.match(String(understood({ path: "/run/a\0b" })), /holds a NUL$/)
    assert.match(String(understood({ path: `/${"x".repeat(107)}` })), /is longer than \d+ bytes$/)
  })
  it.runIf(process.platform === "linux")("writes an abstract socket with an @, and refuses one without a name", () => {
    assert.deepStrictEqual(understood({ path: "\0name" }), ["@name", "localhost"])
    assert.match(String(understood({ path: "\0" })), /^"@" is not usable: the abstract socket has no name$/)
  })
  it("understands the same target the same way each time, and keeps those in one part and in two apart", () => {
    for (let i = 0; i < 2; i++) {
      assert.deepStrictEqual(understood("db:80"), ["db:80", "db"])
      assert.deepStrictEqual(understood({ host: "db", port: 80 }), ["db:80", "db"])
      assert.deepStrictEqual(understood({ host: "::1", port: 80 }), ["[::1]:80", "::1"])
      assert.match(String(understood("::1:80")), /is not usable/)
      assert.match(String(understood("80 db")), /is not usable/)
    }
    for (let port = 1; port < 1000; port++) assert.deepStrictEqual(understood(`db:${port}`), [`db:${port}`, "db"])
  })
  it("knows the family of an address, and of nothing else", () => {
    const families = ["127.0.0.1:1", "[::1]:1", "[fe80::1%1]:1", "db:1"].map((input) =>
      Target.familyOf(Result.getOrThrow(Target.parse(input)))
    )
    assert.deepStrictEqual(families, ["IPv4", "IPv6", "IPv6", undefined])
    assert.isUndefined(Target.familyOf(NetAddress.unixPathAddress("/x")))
  })
})

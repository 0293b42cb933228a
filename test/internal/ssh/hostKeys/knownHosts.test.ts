import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as KnownHosts from "../../../../src/internal/ssh/hostKeys/knownHosts.ts"

// made with ssh-keygen; the hashed lines with ssh-keygen -H
const ed25519 = "AAAAC3NzaC1lZDI1NTE5AAAAILaB5x+poERrpdM24lOGubrLYydVljPgaB5arRD9tl1a"
const ecdsa = "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBLbFArnOxm92vwTUIL+L+eb/kO7Wpn4dg8U6c3MF11l/cxHPDMwz"
  + "z91jqepf4tCBiUSpcurJg6Ldmz73FJ8SP8U="
const otherEd25519 = ed25519.replace("ILaB5", "ILaB6")
const key = (base64: string) => KnownHosts.hostKey(Buffer.from(base64, "base64"))

/** What a file says about a host that shows the Ed25519 key. */
const find = (host: string, ...lines: ReadonlyArray<string>) =>
  KnownHosts.find(KnownHosts.parse(lines.join("\n"), "file"), host, key(ed25519))._tag

describe("known_hosts", () => {
  it("knows type and fingerprint of a key as ssh-keygen does", () => {
    assert.deepInclude(key(ed25519), {
      type: "ssh-ed25519",
      fingerprint: "SHA256:fuVn7Nec15gVrGzFUYlnGKz8mPYvyGRbAQefyq+x2+A"
    })
    assert.strictEqual(key(ecdsa).type, "ecdsa-sha2-nistp256")
    assert.strictEqual(KnownHosts.typeOf(new Uint8Array([0, 0])), "")
  })

  it("writes names as OpenSSH does", () => {
    assert.strictEqual(KnownHosts.hostName("Db.Internal", 22), "db.internal")
    assert.strictEqual(KnownHosts.hostName("DB", 2222), "[db]:2222")
    assert.strictEqual(KnownHosts.hostName("::1", 22), "::1")
    assert.strictEqual(KnownHosts.hostName("::1", 2222), "[::1]:2222")
  })

  it.effect.prop("finds what it writes", { port: Schema.Port }, ({ port }) =>
    Effect.sync(() => {
      const host = KnownHosts.hostName("db", port)
      assert.strictEqual(find(host, KnownHosts.format(host, key(ed25519))), "Match")
      assert.strictEqual(find(KnownHosts.hostName("db", port + 1), KnownHosts.format(host, key(ed25519))), "Unknown")
    }))

  it("finds names, whatever their case, with tabs, comments and empty lines between", () => {
    assert.strictEqual(find("db", "", "  # db", `web,DB\tssh-ed25519 ${ed25519} a comment`), "Match")
    assert.strictEqual(find("db", `web,dbx,xdb ssh-ed25519 ${ed25519}`, ""), "Unknown")
    assert.strictEqual(find("db", `db ssh-ed25519 ${ed25519}\r`), "Match")
  })

  it("finds hashed names", () => {
    const lines = [
      `|1|Oqm3cGxJl/syKi5zBVVIcc7H8hI=|x/y0pBpmHfytACEwkr6jasTv0rc= ssh-ed25519 ${ed25519}`,
      `|1|V9l1jaUNDxeOVizUdYIUZ9Ndy5A=|lX84rPRLMCQFEusqV7e4WF9iGxY= ssh-ed25519 ${ed25519}`,
      `|1|4jnsY85AAnG4mHvcbVyLBodt3/k=|QTYNJSzeQZv7ZRBzWxcu9bEtg28= ssh-ed25519 ${ed25519}`
    ]
    assert.strictEqual(find("hashed.test", ...lines), "Match")
    assert.strictEqual(find("10.0.0.9", ...lines), "Match")
    assert.strictEqual(find("[hashed.test]:2222", ...lines), "Match")
    assert.strictEqual(find("[hashed.test]:22", ...lines), "Unknown")
    assert.strictEqual(find("other.test", ...lines, `|1|broken ssh-ed25519 ${ed25519}`), "Unknown")
  })

  it("understands patterns, and names that they leave out", () => {
    const line = `*.internal,web-??,!secret.internal ssh-ed25519 ${ed25519}`
    for (const host of ["a.internal", "a.b.internal", "web-01"]) assert.strictEqual(find(host, line), "Match", host)
    for (const host of ["internal", "secret.internal", "web-1", "web-001", "axinternal"]) {
      assert.strictEqual(find(host, line), "Unknown", host)
    }
    assert.strictEqual(find("[db]:2222", `[db]:* ssh-ed25519 ${ed25519}`), "Match")
    assert.strictEqual(find("db", `!db ssh-ed25519 ${ed25519}`), "Unknown")
    assert.strictEqual(find("a+b", `a+b ssh-ed25519 ${ed25519}`), "Match")
  })

  it("accepts any of several keys of one host", () => {
    const lines = [`db ssh-ed25519 ${otherEd25519}`, `db ssh-ed25519 ${ed25519}`]
    assert.strictEqual(find("db", ...lines), "Match")
  })

  it("tells a changed key from one of another type", () => {
    assert.strictEqual(find("db", `db ssh-ed25519 ${otherEd25519}`), "Changed")
    assert.strictEqual(find("db", `db ecdsa-sha2-nistp256 ${ecdsa}`), "OtherTypes")
  })

  it("heeds revocations, of this host only, wherever they stand", () => {
    const known = `db ssh-ed25519 ${ed25519}`
    assert.strictEqual(find("db", known, `@revoked * ssh-ed25519 ${ed25519}`), "Revoked")
    assert.strictEqual(find("db", `@revoked db ssh-ed25519 ${ed25519}`, known), "Revoked")
    assert.strictEqual(find("db", known, `@revoked web ssh-ed25519 ${ed25519}`), "Match")
    assert.strictEqual(find("db", known, `@revoked * ssh-ed25519 ${otherEd25519}`), "Match")
    assert.strictEqual(find("db", `@revoked * ssh-ed25519 ${otherEd25519}`), "Unknown")
  })

  it("trusts no line that it does not understand", () => {
    const lines = [
      `@cert-authority * ssh-ed25519 ${ed25519}`,
      `@unheard-of * ssh-ed25519 ${ed25519}`,
      "db",
      "db ssh-ed25519",
      `db ssh-rsa ${ed25519}`,
      `db 2048 35 ${ed25519}`
    ]
    assert.strictEqual(find("db", ...lines), "Unknown")
  })

  it("lists the types of key that are known for a host, once each", () => {
    const entries = KnownHosts.parse(
      [
        `db ecdsa-sha2-nistp256 ${ecdsa}`,
        `web ssh-rsa ${ed25519}`,
        `db,web ssh-ed25519 ${ed25519}`,
        `db ssh-ed25519 ${otherEd25519}`,
        `@revoked web ecdsa-sha2-nistp256 ${ecdsa}`
      ].join("\n"),
      "file"
    )
    assert.deepStrictEqual(KnownHosts.knownTypes(entries, "db"), ["ecdsa-sha2-nistp256", "ssh-ed25519"])
    assert.deepStrictEqual(KnownHosts.knownTypes(entries, "web"), ["ssh-ed25519"])
    assert.deepStrictEqual(KnownHosts.knownTypes(entries, "other"), [])
  })
})

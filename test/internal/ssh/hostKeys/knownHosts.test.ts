import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as KnownHosts from "../../../../src/internal/ssh/hostKeys/knownHosts.ts"
import { hostKey } from "../../../../src/internal/ssh/hostKeys/publicKey.ts"
import { publicKeys } from "../../../support/publicKeys.ts"

const { certificate, ecdsa, ed25519, otherEd25519 } = publicKeys
const key = hostKey(Buffer.from(ed25519.split(" ")[1]!, "base64"))

const parse = (...lines: ReadonlyArray<string>) =>
  KnownHosts.parse(Buffer.from(lines.join("\n")), { name: "/file", isFile: true })

/** The numbers of the lines about the host, with their marks. */
const about = (host: string, ...lines: ReadonlyArray<string>) =>
  KnownHosts.about(parse(...lines), host).map(({ line, marker }) => marker === undefined ? line : `${marker} ${line}`)

describe("files of known hosts", () => {
  it("have lines about hosts, comments and empty lines", () => {
    assert.deepStrictEqual(about("db", "", "  # db", `web,DB\t${ed25519} a comment`, `web ${ed25519}`), [3])
    assert.deepStrictEqual(about("db", `db ${ed25519}\r`, "\r", `# db ${ed25519}`, ` \t db \t${ed25519}\t`), [1, 4])
    assert.deepStrictEqual(about("db", ""), [])
  })

  it("have lines that mean something else", () => {
    const lines = [`@revoked db ${ed25519}`, `@cert-authority \t db ${ecdsa}`, `db ${certificate}`]
    assert.deepStrictEqual(about("db", ...lines), ["revoked 1", "cert-authority 2", 3])
  })

  it("may have lines that nobody understands, which say nothing", () => {
    const lines = [
      "db",
      "db ",
      `db ssh-rsa`,
      `db ${ed25519.split(" ")[1]}`,
      `db ${ed25519.replace("ssh-ed25519", "ssh-rsa")}`,
      `db #${ed25519}`,
      `@trusted db ${ed25519}`,
      `@ db ${ed25519}`,
      `@revoked @revoked db ${ed25519}`,
      `@revoked\tdb ${ed25519}`,
      "@revoked",
      "@revoked ",
      `|1|broken ${ed25519}`,
      `\0db ${ed25519}`,
      `x\u2028db ${ed25519}`
    ]
    assert.deepStrictEqual(about("db", ...lines, `db ${ed25519}\0 more`), [lines.length + 1])
  })

  it("end a mark at a tab where there is no space, as OpenSSH does", () => {
    assert.deepStrictEqual(about("db", `@revoked\tdb ${ed25519}`.replaceAll(" ", "\t")), ["revoked 1"])
  })

  it("tell as whom a key is known already", () => {
    const lines = parse(
      `web ${ed25519}`,
      `@revoked * ${ed25519}`,
      `|1|x ${ed25519}`,
      `db ${otherEd25519}`,
      `x ${certificate}`
    )
    assert.deepStrictEqual(KnownHosts.others(lines, key).map(({ names }) => names), ["web", "|1|x"])
  })

  it("are cited as editors cite them", () => {
    const at = (name: string, isFile: boolean) => KnownHosts.place({ line: 3, source: { name, isFile } })
    assert.strictEqual(at("/file", true), "/file:3")
    assert.strictEqual(at("SSH_KNOWN_HOSTS", false), "line 3 of SSH_KNOWN_HOSTS")
  })

  it.effect.prop(
    "hold what is written to them",
    { host: Schema.String.check(Schema.isPattern(/^[a-z0-9.ü-]+$/)), hash: Schema.Boolean },
    ({ hash, host }) =>
      Effect.sync(() => {
        const [entry, ...more] = KnownHosts.about(parse("# first", KnownHosts.format(host, key, { hash })), host)
        assert.deepStrictEqual(more, [])
        assert.deepInclude(entry, { line: 2, marker: undefined })
        assert.isTrue(KnownHosts.isKnown(entry!, key))
        assert.strictEqual(entry!.names.includes("|1|"), hash)
        assert.deepStrictEqual(KnownHosts.about(parse(KnownHosts.format(host, key, { hash })), `${host}x`), [])
      })
  )
})

import { assert, describe, it } from "@effect/vitest"
import { decide, lookUp } from "../../../../src/internal/ssh/hostKeys/decision.ts"
import { namesOf } from "../../../../src/internal/ssh/hostKeys/hostNames.ts"
import { parse, type Source } from "../../../../src/internal/ssh/hostKeys/knownHosts.ts"
import { hostKey } from "../../../../src/internal/ssh/hostKeys/publicKey.ts"
import { refusal } from "../../../../src/internal/ssh/hostKeys/refusal.ts"
import { publicKeys } from "../../../support/publicKeys.ts"

const { certificate, ed25519, otherEd25519, rsa } = publicKeys
const key = hostKey(Buffer.from(ed25519.split(" ")[1]!, "base64"))
const server = { host: "DB", port: 2222 }

const file = (name: string): Source => ({ name, isFile: true })

/** What is said about the Ed25519 key when these lines are known. */
const said = (source: Source, ...lines: ReadonlyArray<string>) => {
  const decision = decide(lookUp(parse(Buffer.from(lines.join("\n")), source), namesOf(server)), key)
  return decision._tag === "Known" ? "known" : refusal(server, key, decision, "looked around").message
}

const shown = `it showed ssh-ed25519 ${key.fingerprint}`
const other = "ssh-ed25519 SHA256:gXo5KTsOAiJGpHLtCRl84QUgsqvVsusoEpNZNiyIbNo"
const changed = (line: string, known: string) =>
  `the host key of [db]:2222 is changed: ${shown}; ${line} has ${known}. Either the server was given another key, or ` +
  "somebody sits in between. If its administrator confirms the key that it showed, "

describe("what is said about a host key that is not accepted", () => {
  it("is how to remove a line that is about this host alone", () => {
    assert.strictEqual(
      said(file("/home/o'neil/known hosts"), `[DB]:2222 ${otherEd25519}`),
      changed("/home/o'neil/known hosts:1", other) +
        `remove the old one: ssh-keygen -R '[db]:2222' -f '/home/o'\\''neil/known hosts'`
    )
  })

  it("is which line to change where that is about others as well, or in no file", () => {
    for (const names of ["[db]:2222,web", "*", "[d?]:2222"]) {
      assert.strictEqual(
        said(file("/file"), "", `${names} ${otherEd25519}`),
        `${changed("/file:2", other)}change /file:2`
      )
    }
    assert.strictEqual(
      said({ name: "the secret", isFile: false }, `[db]:2222 ${otherEd25519}`),
      `${changed("line 1 of the secret", other)}change line 1 of the secret`
    )
  })

  it("is that a certificate is not a key, and an authority of no use", () => {
    assert.strictEqual(
      said(file("/file"), `@cert-authority * ${rsa}`, `* ${certificate}`),
      `${
        changed("/file:2", `a certificate of ssh-ed25519 ${key.fingerprint}`)
      }change /file:2. The certificate authority ` +
        "in /file:1 cannot help: host certificates are not supported"
    )
    assert.strictEqual(
      said(file("/file"), `@cert-authority * ${rsa}`),
      "not supported (host certificate): /file:1 lets a certificate authority vouch for [db]:2222, and nothing else is " +
        `known about it. The server showed ssh-ed25519 ${key.fingerprint} without a certificate: if its administrator ` +
        "confirms that key, add it to a known_hosts file, or accept it by its fingerprint"
    )
  })

  it("is who revokes it", () => {
    assert.strictEqual(
      said(file("/file"), `@revoked * ${ed25519}`),
      `the host key of [db]:2222 is revoked: ${shown}; /file:1 revokes it, so whoever shows it may have stolen it; the ` +
        "server needs a new key"
    )
  })

  it("is where was looked, and what is known about other ports", () => {
    assert.strictEqual(said(file("/file")), `the host key of [db]:2222 is unknown: ${shown}; looked around`)
    assert.strictEqual(
      said(file("/file"), `db ${otherEd25519}`),
      `the host key of [db]:2222 is unknown: ${shown}; looked around; for other ports /file:1 has ${other}`
    )
  })
})

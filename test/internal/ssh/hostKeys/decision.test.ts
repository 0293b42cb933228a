import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { decide, lookUp, preferredTypes } from "../../../../src/internal/ssh/hostKeys/decision.ts"
import { namesOf } from "../../../../src/internal/ssh/hostKeys/hostNames.ts"
import { parse } from "../../../../src/internal/ssh/hostKeys/knownHosts.ts"
import { hostKey } from "../../../../src/internal/ssh/hostKeys/publicKey.ts"
import { publicKeys } from "../../../support/publicKeys.ts"

const { certificate, dsa, ecdsa, ed25519, otherEd25519, rsa } = publicKeys
const blobOf = (key: string) => Buffer.from(key.split(" ")[1]!, "base64")
const known = (...lines: ReadonlyArray<string>) =>
  lookUp(parse(Buffer.from(lines.join("\n")), { name: "/file", isFile: true }), namesOf({ host: "db", port: 2222 }))

/** What is decided about a server at port 2222 that shows the Ed25519 key, and by which line. */
const decided = (...lines: ReadonlyArray<string>) => {
  const decision = decide(known(...lines), hostKey(blobOf(ed25519)))
  const entry = "entry" in decision ? decision.entry : undefined
  return entry === undefined ? decision._tag : `${decision._tag} ${entry.line}`
}

const here = "[db]:2222"

// what ssh itself decides is in the tests with peers; these are its rules one by one
describe("what known hosts say about a key", () => {
  it("is that they know it, by one of several keys", () => {
    assert.strictEqual(decided(`${here} ${ed25519}`), "Known")
    assert.strictEqual(decided(`${here} ${otherEd25519}`, `${here} ${ecdsa}`, `${here} ${ed25519}`), "Known")
  })

  it("is that there are others, of whatever type, of which the last is named", () => {
    assert.strictEqual(decided(`${here} ${otherEd25519}`, `${here} ${rsa}`, `web ${ed25519}`), "Changed 2")
    assert.strictEqual(decided(`${here} ${certificate}`), "Changed 1")
  })

  it("is the same by the name without the port, which cannot speak against it", () => {
    assert.strictEqual(decided(`db ${ed25519}`), "Known")
    assert.strictEqual(decided(`db ${ed25519}`, `${here} ${otherEd25519}`), "Changed 2")
    const decision = decide(known(`db ${rsa}`, `db ${otherEd25519}`), hostKey(blobOf(ed25519)))
    assert.strictEqual(decision._tag, "Unknown")
    assert.deepInclude(decision._tag === "Unknown" ? decision.elsewhere : undefined, { line: 2 })
  })

  it("is nothing about a host without lines, or with lines of others", () => {
    assert.strictEqual(decided(), "Unknown")
    assert.strictEqual(decided(`web ${ed25519}`, `[db]:2223 ${ed25519}`), "Unknown")
  })

  it("is that it was revoked, whatever else they say", () => {
    assert.strictEqual(decided(`${here} ${ed25519}`, `@revoked * ${ed25519}`), "Revoked 2")
    assert.strictEqual(decided(`@revoked ${here} ${ed25519}`, `${here} ${ed25519}`), "Revoked 1")
    assert.strictEqual(decided(`@revoked ${here} ${ed25519}`, `${here} ${otherEd25519}`), "Revoked 1")
    assert.strictEqual(decided(`@revoked db ${ed25519}`), "Revoked 1")
    assert.strictEqual(decided(`${here} ${ed25519}`, `@revoked * ${certificate}`), "Revoked 2")
    assert.strictEqual(decided(`${here} ${ed25519}`, `@revoked web ${ed25519}`), "Known")
    assert.strictEqual(decided(`${here} ${ed25519}`, `@revoked db ${ed25519}`), "Known")
    assert.strictEqual(decided(`${here} ${ed25519}`, `@revoked * ${otherEd25519}`), "Known")
  })

  it("is that an authority may know, where nothing else does", () => {
    assert.strictEqual(decided(`@cert-authority * ${ecdsa}`), "Certified 1")
    assert.strictEqual(decided(`@cert-authority * ${ed25519}`), "Certified 1")
    assert.strictEqual(decided(`@cert-authority * ${ecdsa}`, `${here} ${ed25519}`), "Known")
    assert.strictEqual(decided(`@cert-authority * ${ecdsa}`, `${here} ${rsa}`), "Changed 2")
    assert.strictEqual(decided(`@cert-authority web ${ecdsa}`), "Unknown")
  })

  it.effect.prop(
    "is never that they know it when it is not in them, and nothing throws",
    {
      parts: Schema.Array(
        Schema.Union([
          Schema.String,
          Schema.Literals([
            " ",
            "\t",
            "\n",
            "\r\n",
            ",",
            "!",
            "*",
            "?",
            "#",
            "\0",
            "@revoked ",
            "@cert-authority ",
            "db",
            "[db]:2222",
            "|1|",
            "ssh-ed25519 ",
            `${otherEd25519}\n`,
            `${rsa} x\n`,
            `${certificate}\n`,
            ed25519.slice(0, -4),
            "==",
            `* ${ecdsa}\n`
          ])
        ])
      ).check(Schema.isMaxLength(20))
    },
    ({ parts }) => Effect.sync(() => assert.notStrictEqual(decided(parts.join("")), "Known"))
  )
})

describe("the types of key to ask for first", () => {
  const preferred = (...lines: ReadonlyArray<string>) => preferredTypes(known(...lines))

  it("are those that are known for the port", () => {
    assert.deepStrictEqual(preferred(`${here} ${rsa}`, `* ${ecdsa}`, `${here} ${rsa}`), [
      "ssh-rsa",
      "ecdsa-sha2-nistp384"
    ])
    assert.deepStrictEqual(preferred(`${here} ${dsa}`), ["ssh-dss"])
    assert.deepStrictEqual(preferred(`db ${rsa}`, `web ${rsa}`), [])
    assert.deepStrictEqual(preferred(`@cert-authority * ${rsa}`, `@revoked * ${ecdsa}`, `${here} ${certificate}`), [])
  })

  it("are no others where the best is known", () => {
    assert.deepStrictEqual(preferred(`${here} ${rsa}`, `${here} ${ed25519}`), ["ssh-ed25519"])
  })

  it("leave out a type whose first key is revoked", () => {
    const lines = [`${here} ${otherEd25519}`, `${here} ${ed25519}`, `${here} ${rsa}`]
    assert.deepStrictEqual(preferred(...lines, `@revoked * ${otherEd25519}`), ["ssh-rsa"])
    assert.deepStrictEqual(preferred(...lines, `@revoked * ${ed25519}`), ["ssh-ed25519"])
  })
})

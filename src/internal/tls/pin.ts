import * as Effect from "effect/Effect"
import * as Crypto from "node:crypto"
import { TlsConfigError } from "../../errors/TlsConfigError.ts"

/** The pin of a public key, from its SubjectPublicKeyInfo in DER: `sha256/` and the SHA-256 in base64. */
export const ofPublicKey = (spki: Uint8Array): string =>
  `sha256/${Crypto.createHash("sha256").update(spki).digest("base64")}`

const hex = /^(?:[0-9a-f]{2}:?){31}[0-9a-f]{2}$/i
const base64 = /^[A-Za-z0-9+/]{43}=$/

const hash = (text: string): Buffer | undefined => {
  if (hex.test(text)) return Buffer.from(text.replaceAll(":", ""), "hex")
  return base64.test(text) ? Buffer.from(text, "base64") : undefined
}

/** Understands one pin as people have it and writes it in the one way we compare. */
export const parse = (text: string): Effect.Effect<string, TlsConfigError> => {
  const rest = text.trim().replace(/^sha256\//, "")
  // curl writes sha256//, but a hash may begin with a slash too
  const bytes = hash(rest) ?? hash(rest.replace(/^\//, ""))
  return bytes === undefined
    ? Effect.fail(
      new TlsConfigError({
        option: "pin",
        detail: `"${text}" is not the SHA-256 of a public key: "sha256/" and 44 characters of base64, or 64 of hex`
      })
    )
    : Effect.succeed(`sha256/${bytes.toString("base64")}`)
}

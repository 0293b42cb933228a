/** User certificates of OpenSSH (`PROTOCOL.certkeys`): a public key with who may use it, signed by an authority. */
import { fingerprint, fromBase64, parse as parsePublicKey } from "../hostKeys/publicKey.ts"
import { Reader } from "../wire.ts"

export interface Certificate {
  /** The certificate in SSH's own format. */
  readonly bytes: Buffer
  /** The key that it is for, in SSH's own format. */
  readonly key: Buffer
  readonly kind: "user" | "host" | "other"
  /** The name that the authority gave it. */
  readonly id: string
  /** Whom it lets in; none means anybody. */
  readonly principals: ReadonlyArray<string>
  /** Seconds since 1970: from then on, and before then. */
  readonly validAfter: bigint
  readonly validBefore: bigint
  /** The fingerprint of the authority's key. */
  readonly authority: string
}

const texts = (bytes: Buffer): ReadonlyArray<string> => {
  const reader = new Reader(bytes)
  const texts = []
  while (!reader.done) texts.push(reader.text())
  return texts
}

const kinds: Readonly<Record<number, Certificate["kind"]>> = { 1: "user", 2: "host" }

/** Reads a certificate as files hold it; none where the text is not one of a type that OpenSSH knows. */
export const parse = (text: string): Certificate | undefined => {
  const [, base64 = ""] = /^\s*\S+-cert-v01@openssh\.com[ \t]+(\S+)/.exec(text) ?? []
  const bytes = fromBase64(base64)
  const key = bytes === undefined ? undefined : parsePublicKey(bytes)
  if (bytes === undefined || key?.inCertificate !== true) return undefined
  const reader = new Reader(bytes)
  reader.string() // type
  reader.string() // nonce
  // the parts of the key itself, as many as there are behind its type
  const parts = new Reader(key.bytes)
  for (parts.string(); !parts.done; parts.string()) reader.string()
  reader.uint64() // serial number
  const kind = kinds[reader.uint32()] ?? "other"
  const id = reader.text()
  const principals = texts(reader.string())
  const validAfter = reader.uint64()
  const validBefore = reader.uint64()
  for (let i = 0; i < 3; i++) reader.string() // critical options, extensions, reserved
  return {
    bytes,
    key: key.bytes,
    kind,
    id,
    principals,
    validAfter,
    validBefore,
    authority: fingerprint(reader.string())
  }
}

/** The last second that a date can be made of. */
const lastDate = 8_640_000_000_000n

const date = (seconds: bigint) => seconds > lastDate ? "never" : new Date(Number(seconds) * 1000).toISOString()

/** Why a certificate is of no use with a key at this time (milliseconds since 1970). */
export const problemOf = (certificate: Certificate, key: Uint8Array, now: number): string | undefined => {
  const { kind, validAfter, validBefore } = certificate
  const seconds = BigInt(Math.floor(now / 1000))
  return !certificate.key.equals(key)
    ? "belongs to another key"
    : kind !== "user"
    ? `is a certificate of a ${kind === "host" ? "host" : "kind that is not known"}, not of a user`
    : seconds < validAfter
    ? `is not valid before ${date(validAfter)}`
    : seconds >= validBefore
    ? `was valid until ${date(validBefore)}`
    : undefined
}

import * as Result from "effect/Result"
import * as Crypto from "node:crypto"
import { Reader } from "../wire.ts"
import * as PublicKey from "./publicKey.ts"

/** Keys that nobody may use any more. */
export interface Revocations {
  readonly has: (key: PublicKey.HostKey) => boolean
}

const magic = Buffer.from("SSHKRL\n\0", "latin1")

const sections = { certificates: 1, keys: 2, sha1: 3, signature: 4, sha256: 5 }

const stringsOf = (bytes: Buffer): ReadonlyArray<Buffer> | undefined => {
  const reader = new Reader(bytes)
  const strings: Array<Buffer> = []
  while (!reader.done) strings.push(reader.string())
  return reader.failed ? undefined : strings
}

/**
 * Reads a key revocation list (OpenSSH's PROTOCOL.krl), as far as it is about plain keys. What is not understood may revoke
 * something, so it fails.
 */
const parseList = (bytes: Buffer): Result.Result<Revocations, string> => {
  const reader = new Reader(bytes.subarray(magic.length))
  const version = reader.uint32()
  if (version !== 1) return Result.fail(`its version ${version} is not known`)
  reader.take(8 + 8 + 8) // its number, its date, flags
  for (let i = 0; i < 2; i++) reader.string() // reserved, a comment
  const revoked = new Map([sections.keys, sections.sha1, sections.sha256].map((type) => [type, new Set<string>()]))
  while (!reader.done) {
    const type = reader.byte()
    const content = reader.string()
    if (type === sections.signature) {
      reader.string()
    } else if (type !== sections.certificates) {
      const strings = stringsOf(content)
      const set = revoked.get(type)
      if (set === undefined) return Result.fail(`its section of type ${type} is not known`)
      if (strings === undefined) return Result.fail("it is broken")
      for (const string of strings) set.add(string.toString("base64"))
    }
  }
  if (reader.failed) return Result.fail("it is broken")
  const has = (type: number, bytes: Uint8Array) => revoked.get(type)!.has(Buffer.from(bytes).toString("base64"))
  const digest = (algorithm: string, bytes: Uint8Array) => Crypto.createHash(algorithm).update(bytes).digest()
  return Result.succeed({
    has: (key) =>
      has(sections.keys, key.bytes) || has(sections.sha1, digest("sha1", key.bytes)) ||
      has(sections.sha256, digest("sha256", key.bytes))
  })
}

/** Reads public keys, one a line. */
const parseKeys = (bytes: Buffer): Result.Result<Revocations, string> => {
  const revoked = new Set<string>()
  for (const [index, raw] of bytes.toString("latin1").split("\n").entries()) {
    const line = raw.replace(/^[ \t]+/, "")
    if (line === "" || line.startsWith("#")) continue
    const key = PublicKey.fromText(line)
    if (key === undefined) return Result.fail(`its line ${index + 1} is not a public key`)
    revoked.add(key.bytes.toString("base64"))
  }
  return Result.succeed({ has: (key) => revoked.has(Buffer.from(key.bytes).toString("base64")) })
}

/** Reads a file of `RevokedHostKeys`: public keys, one a line, or what `ssh-keygen -k` made. */
export const parse = (bytes: Buffer): Result.Result<Revocations, string> =>
  bytes.subarray(0, magic.length).equals(magic) ? parseList(bytes) : parseKeys(bytes)

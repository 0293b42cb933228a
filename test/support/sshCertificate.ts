/** Certificates as an authority makes them, except that nobody signs them: only servers look at the signature. */
import { Reader, string, uint32 } from "../../src/internal/ssh/wire.ts"

const uint64 = (value: bigint) => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(value)
  return bytes
}

export interface CertificateOptions {
  /** 1 for a user, 2 for a host. Default 1. */
  readonly kind?: number
  readonly principals?: ReadonlyArray<string>
  /** Seconds since 1970. Default: from then on, for ever. */
  readonly validAfter?: bigint
  readonly validBefore?: bigint
}

/** A line of a `-cert.pub` file, for a public key in SSH's own format. */
export const certificateOf = (key: Uint8Array, options: CertificateOptions = {}): string => {
  const { kind = 1, principals = ["demo"], validAfter = 0n, validBefore = 2n ** 64n - 1n } = options
  const reader = new Reader(key)
  const plain = reader.text()
  const type = plain.endsWith("@openssh.com")
    ? plain.replace("@", "-cert-v01@")
    : `${plain}-cert-v01@openssh.com`
  const bytes = Buffer.concat([
    string(type),
    string("a nonce"),
    key.subarray(reader.position),
    uint64(7n),
    uint32(kind),
    string("an id"),
    string(Buffer.concat(principals.map(string))),
    uint64(validAfter),
    uint64(validBefore),
    string(""),
    string(""),
    string(""),
    string("the authority"),
    string("its signature")
  ])
  return `${type} ${bytes.toString("base64")} a comment\n`
}

import * as Result from "effect/Result"
import * as Crypto from "node:crypto"
import { Reader, string } from "../wire.ts"

/** A key as a server shows it. */
export interface HostKey {
  /** `ssh-ed25519`, `ssh-rsa`, `ecdsa-sha2-nistp256`, ... */
  readonly type: string
  /** The key in SSH's own format. */
  readonly bytes: Uint8Array
  /** `SHA256:...`, as `ssh-keygen -l` prints it. */
  readonly fingerprint: string
}

/** `SHA256:` and base64 without padding, as OpenSSH prints it. */
export const fingerprint = (key: Uint8Array): string =>
  `SHA256:${Crypto.createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}`

/** The type that stands at the beginning of a key in SSH's own format. */
export const typeOf = (key: Uint8Array): string => new Reader(key).string().toString("latin1")

export const hostKey = (bytes: Uint8Array): HostKey => ({ type: typeOf(bytes), bytes, fingerprint: fingerprint(bytes) })

/** A public key as files hold it: alone, or in a certificate. */
export interface PublicKey {
  /** The type of the key itself, without a certificate around it. */
  readonly type: string
  /** The key itself in SSH's own format. */
  readonly bytes: Buffer
  readonly inCertificate: boolean
}

/** Whether a point is on its curve. */
const isPoint = (curve: string, point: Buffer): boolean =>
  // other forms of a point than the uncompressed one are not allowed (RFC 5656, section 3.1, as OpenSSH reads it)
  point[0] === 4 && Result.isSuccess(Result.try(() => Crypto.ECDH.convertKey(point, curve)))

const ecdsa = (name: string, curve: string) => ([named, point]: ReadonlyArray<Buffer>): boolean =>
  named?.toString("latin1") === name && point !== undefined && isPoint(curve, point)

const ed25519 = ([key]: ReadonlyArray<Buffer>): boolean => key?.length === 32

const positive = (number: Buffer): boolean => number.length > 0 && number[0]! < 0x80

/** The bits of a number without its sign. */
const bits = (number: Buffer): number => {
  const first = number.findIndex((byte) => byte !== 0)
  return first === -1 ? 0 : (number.length - first) * 8 - Math.clz32(number[first]!) + 24
}

/** What follows the type in a key: how many strings, and whether they make a key. */
interface Form {
  readonly strings: number
  readonly isKey: (strings: ReadonlyArray<Buffer>) => boolean
}

const forms: ReadonlyMap<string, Form> = new Map<string, Form>([
  ["ssh-ed25519", { strings: 1, isKey: ed25519 }],
  ["ecdsa-sha2-nistp256", { strings: 2, isKey: ecdsa("nistp256", "prime256v1") }],
  ["ecdsa-sha2-nistp384", { strings: 2, isKey: ecdsa("nistp384", "secp384r1") }],
  ["ecdsa-sha2-nistp521", { strings: 2, isKey: ecdsa("nistp521", "secp521r1") }],
  ["ssh-rsa", { strings: 2, isKey: (numbers) => numbers.every(positive) && bits(numbers[1]!) >= 1024 }],
  ["ssh-dss", { strings: 4, isKey: (numbers) => numbers.every(positive) }],
  // security keys: the application's name follows
  ["sk-ssh-ed25519@openssh.com", { strings: 2, isKey: ed25519 }],
  ["sk-ecdsa-sha2-nistp256@openssh.com", { strings: 3, isKey: ecdsa("nistp256", "prime256v1") }]
])

const certificate = /^(.*)-cert-v01(@openssh\.com)$/

/** `sk-ssh-ed25519-cert-v01@openssh.com` is a certificate of `sk-ssh-ed25519@openssh.com`, and so on. */
const certified = (type: string): string | undefined => {
  const [, name, vendor] = certificate.exec(type) ?? []
  return name === undefined ? undefined : forms.has(name) ? name : `${name}${vendor}`
}

/** Passes over what follows the key in a certificate. */
const passCertificate = (reader: Reader): void => {
  reader.take(8 + 4) // serial number, kind
  for (let i = 0; i < 2; i++) reader.string() // identity, principals
  reader.take(8 + 8) // valid after, valid before
  for (let i = 0; i < 5; i++) reader.string() // critical options, extensions, reserved, authority, signature
}

/** A key in SSH's own format; none where the bytes are not one of a type that OpenSSH knows. */
export const parse = (bytes: Uint8Array): PublicKey | undefined => {
  const reader = new Reader(bytes)
  const whole = reader.string().toString("latin1")
  const inner = certified(whole)
  if (inner !== undefined) reader.string() // a nonce
  const type = inner ?? whole
  const form = forms.get(type)
  if (form === undefined) return undefined
  const strings = Array.from({ length: form.strings }, () => reader.string())
  if (inner !== undefined) passCertificate(reader)
  if (reader.failed || !reader.done || !form.isKey(strings)) return undefined
  return {
    type,
    bytes: Buffer.concat([string(type), ...strings.map(string)]),
    inCertificate: inner !== undefined
  }
}

/** Names of signatures that OpenSSH takes for the type of the key as well. */
const aliases: Readonly<Record<string, string>> = {
  "rsa-sha2-256": "ssh-rsa",
  "rsa-sha2-512": "ssh-rsa",
  "rsa-sha2-256-cert-v01@openssh.com": "ssh-rsa-cert-v01@openssh.com",
  "rsa-sha2-512-cert-v01@openssh.com": "ssh-rsa-cert-v01@openssh.com"
}

/** Base64 as it is made, and nothing else: padded, and with no bits left over. */
export const fromBase64 = (text: string): Buffer | undefined => {
  const bytes = Buffer.from(text, "base64")
  return bytes.toString("base64") === text ? bytes : undefined
}

/** A key as files hold it: its type, its bytes in base64, perhaps a comment. */
export const fromText = (text: string): PublicKey | undefined => {
  const [, type, base64] = /^([^ \t]+)[ \t]+([^ \t]+)/.exec(text) ?? []
  // what separates lines elsewhere (a carriage return, say) may stand in it
  const bytes = base64 === undefined ? undefined : fromBase64(base64.replaceAll(/[\r\v\f\n]/g, ""))
  if (type === undefined || bytes === undefined) return undefined
  return typeOf(bytes) === (aliases[type] ?? type) ? parse(bytes) : undefined
}

import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Crypto from "node:crypto"
import type { ParsedKey } from "ssh2"
import { KeyUnreadable, Unsupported } from "../../../errors/SshError.ts"
import * as PublicKey from "../hostKeys/publicKey.ts"
import Ssh2 from "../ssh2.ts"
import * as UserFiles from "../userFiles.ts"
import { mpint, Reader, string } from "../wire.ts"
import type { PrivateKey } from "./signature.ts"

/** Where a key came from; never the key itself. */
export interface Source {
  readonly name: string
  readonly path: string | undefined
  readonly bytes: Buffer
}

const isText = (key: string) => /-----BEGIN|---- BEGIN|^PuTTY-User-Key-File|[\r\n]/.test(key) || /^\S+ AAAA/.test(key)

/** The bytes of a key, or of a certificate, that is given as text, as bytes or by the path of its file. */
export const load = (given: string | Uint8Array | Redacted.Redacted): Effect.Effect<Source, KeyUnreadable> => {
  const key = Redacted.isRedacted(given) ? Redacted.value(given) : given
  if (typeof key !== "string") {
    return Effect.succeed({ name: "the given bytes", path: undefined, bytes: Buffer.from(key) })
  }
  if (isText(key)) return Effect.succeed({ name: "the given text", path: undefined, bytes: Buffer.from(key) })
  // what was meant to be a secret stays one, also when it is not what it should be
  const name = Redacted.isRedacted(given) ? "the given file" : key
  return UserFiles.read(key).pipe(
    Effect.map((bytes) => ({ name, path: key, bytes })),
    Effect.mapError(({ code }) => new KeyUnreadable({ detail: `cannot read ${quoted(name)} (${code})` }))
  )
}

export const unreadable = ({ name }: Source, words: string): KeyUnreadable =>
  new KeyUnreadable({ detail: `${quoted(name)} ${words}` })

/** What messages call it. */
export const quoted = (name: string): string => name.startsWith("the given") ? name : `the file "${name}"`

/** A private key as it is stored. */
export interface Stored {
  readonly source: Source
  readonly encrypted: boolean
  /** The public key, where the format has it in the clear. */
  readonly bytes: Buffer | undefined
  /** Decrypts it; the words say why not. */
  readonly parse: (passphrase: Redacted.Redacted | undefined) => Result.Result<PrivateKey, string>
}

const url = (text: string | undefined) => Buffer.from(text ?? "", "base64url")

const curves: Readonly<Record<string, string>> = {
  prime256v1: "nistp256",
  secp384r1: "nistp384",
  secp521r1: "nistp521"
}

/** The key with its public part in SSH's own format; `undefined` where SSH has no such keys. */
const withPublicPart = (key: Crypto.KeyObject, parsed: ParsedKey | undefined): PrivateKey | undefined => {
  const { asymmetricKeyDetails, asymmetricKeyType } = key
  const curve = curves[asymmetricKeyDetails?.namedCurve ?? ""]
  const isKnown = asymmetricKeyType === "rsa" || asymmetricKeyType === "ed25519" || curve !== undefined
  if (!isKnown) return undefined
  if (parsed !== undefined) return { type: parsed.type, bytes: parsed.getPublicSSH(), key }
  const { e, n, x, y } = Crypto.createPublicKey(key).export({ format: "jwk" })
  const made = (type: string, ...fields: ReadonlyArray<Buffer>): PrivateKey => ({
    type,
    bytes: Buffer.concat([string(type), ...fields]),
    key
  })
  if (curve !== undefined) {
    return made(`ecdsa-sha2-${curve}`, string(curve), string(Buffer.concat([Buffer.of(4), url(x), url(y)])))
  }
  return asymmetricKeyType === "rsa"
    ? made("ssh-rsa", mpint(url(e)), mpint(url(n)))
    : made("ssh-ed25519", string(url(x)))
}

const damaged = "it is damaged"

const use = (make: () => Crypto.KeyObject, parsed?: ParsedKey): Result.Result<PrivateKey, string> =>
  Result.flatMap(Result.try({ try: make, catch: () => damaged }), (key) => {
    const known = withPublicPart(key, parsed)
    return known === undefined
      ? Result.fail(`keys of its type are not used with SSH (${key.asymmetricKeyType})`)
      : Result.succeed(known)
  })

/** Formats that ssh2 reads and Node does not. */
const bySsh2 = (text: string) => (passphrase: Redacted.Redacted | undefined): Result.Result<PrivateKey, string> => {
  const parsed = Result.try({
    try: (): ParsedKey | Error | Array<ParsedKey> =>
      Ssh2.utils.parseKey(text, passphrase === undefined ? undefined : Redacted.value(passphrase)),
    catch: () => damaged
  })
  return Result.flatMap(parsed, (parsed) => {
    const key = Array.isArray(parsed) ? parsed[0] : parsed
    return key === undefined || key instanceof Error
      ? Result.fail(damaged)
      : use(() => Crypto.createPrivateKey(key.getPrivatePEM()), key)
  })
}

const byNode = (pem: string) => (passphrase: Redacted.Redacted | undefined): Result.Result<PrivateKey, string> =>
  use(() =>
    Crypto.createPrivateKey({
      key: pem,
      ...(passphrase === undefined ? {} : { passphrase: Redacted.value(passphrase) })
    })
  )

/** What OpenSSH's own format has in the clear (`PROTOCOL.key`). */
const openContainer = (block: string) => {
  const reader = new Reader(Buffer.from(block.replaceAll(/-----[^-]+-----/g, ""), "base64"))
  const magic = reader.take(15).toString("latin1")
  const cipher = reader.text()
  reader.string()
  reader.string()
  reader.uint32()
  const bytes = reader.string()
  return magic !== "openssh-key-v1\0" || reader.failed ? undefined : { encrypted: cipher !== "none", bytes }
}

const isPublic = (text: string) =>
  /^(?:ssh-|ecdsa-|sk-)\S+ AAAA/m.test(text) || /BEGIN (?:SSH2 )?(?:RSA )?PUBLIC KEY/.test(text)

const pemBlock = /-----BEGIN ((?:\w+ )?PRIVATE KEY)-----\r?\n[\s\S]+?-----END \1-----/

const convert = "convert it with \"puttygen KEY -O private-openssh -o NEW\""

/** Finds out what is stored, without decrypting it. */
export const recognise = (source: Source): Effect.Effect<Stored, KeyUnreadable | Unsupported> => {
  const text = source.bytes.toString()
  const refuse = (words: string) => Effect.fail(unreadable(source, words))
  if (text.startsWith("PuTTY-User-Key-File-2: ")) {
    const [, type] = /^\S+ (\S+)/.exec(text) ?? []
    // ssh2 reads no others
    if (type !== "ssh-rsa") return refuse(`is in PuTTY's format with a key of type ${type}: ${convert}`)
    return Effect.succeed({
      source,
      encrypted: !/^Encryption: none\r?$/m.test(text),
      bytes: undefined,
      parse: bySsh2(text)
    })
  }
  if (text.startsWith("PuTTY-User-Key-File-")) return refuse(`is in a newer format of PuTTY than 2: ${convert}`)
  const [block, label] = pemBlock.exec(text) ?? []
  if (block === undefined) {
    return refuse(
      isPublic(text)
        ? "is a public key, and the private one is needed"
        : "holds no private key in a known format (OpenSSH, PEM, PKCS#8, PuTTY 2)"
    )
  }
  if (label === "OPENSSH PRIVATE KEY") {
    const container = openContainer(block)
    if (container === undefined) return refuse("is damaged")
    const type = PublicKey.typeOf(container.bytes)
    if (type.startsWith("sk-")) {
      return Effect.fail(
        new Unsupported({
          feature: "security key",
          detail: `${
            quoted(source.name)
          } is the handle of a security key: put it into an agent (ssh-add) and use SshAuth.agent`
        })
      )
    }
    return Effect.succeed({ source, ...container, parse: bySsh2(block) })
  }
  return Effect.succeed({
    source,
    encrypted: label === "ENCRYPTED PRIVATE KEY" || /^Proc-Type: 4,ENCRYPTED/m.test(block),
    bytes: undefined,
    parse: byNode(block)
  })
}

/** Decrypts a key and says what to do where that does not work. */
export const unlock = (
  { encrypted, parse, source }: Stored,
  passphrase: Redacted.Redacted | undefined
): Effect.Effect<PrivateKey, KeyUnreadable> => {
  if (encrypted && passphrase === undefined) {
    return Effect.fail(unreadable(source, "is encrypted: give its passphrase, or put the key into an agent"))
  }
  return Effect.mapError(
    Effect.fromResult(parse(encrypted ? passphrase : undefined)),
    (words) =>
      unreadable(
        source,
        encrypted && words === damaged ? "cannot be decrypted: the passphrase is wrong" : `cannot be used: ${words}`
      )
  )
}

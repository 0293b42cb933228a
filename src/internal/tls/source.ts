import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs/promises"
import * as NodeTls from "node:tls"
import { TlsConfigError } from "../../errors/TlsConfigError.ts"

/** PEM text, the bytes of a file (PEM, or DER for certificates and revocation lists), or the path of a file. */
export type PemSource = string | Uint8Array

/** A certificate and its key, in one of the two ways they come. */
export interface CredentialOptions {
  /** The certificate, with its chain. */
  readonly cert?: PemSource | undefined
  /** The private key of `cert`. A text that is no PEM is taken for a path and named in errors; a `Redacted` one never is. */
  readonly key?: PemSource | Redacted.Redacted | undefined
  /** The passphrase of `key` or `pfx`. */
  readonly passphrase?: Redacted.Redacted | undefined
  /** Certificate, key and chain in one PKCS #12 file, instead of `cert` and `key`: its bytes or its path. */
  readonly pfx?: string | Uint8Array | undefined
}

/** What was read, as `node:tls` takes it. */
export type Credentials =
  | { readonly cert: string; readonly key: string }
  | { readonly pfx: Buffer; readonly passphrase?: string }

/** An option cannot be used. */
export const fail = (option: string, detail: string, cause?: unknown): TlsConfigError =>
  new TlsConfigError({ option, detail, ...(cause === undefined ? {} : { cause }) })

const file = (option: string, path: string) =>
  Effect.tryPromise({
    try: () => Fs.readFile(path),
    catch: (cause) => fail(option, `cannot read the file "${path}"`, cause)
  })

/** Bytes, or those of the file that a path names. */
const bytes = (option: string, source: PemSource): Effect.Effect<Buffer, TlsConfigError> =>
  typeof source === "string" ? file(option, source) : Effect.succeed(Buffer.from(source))

const text = (option: string, source: PemSource | Redacted.Redacted): Effect.Effect<string, TlsConfigError> => {
  if (Redacted.isRedacted(source)) {
    // what is no PEM text may still be the key, mangled: neither the text nor the system's error, which quotes it, is told
    return Effect.mapError(
      text(option, Redacted.value(source)),
      () => fail(option, "neither PEM text nor the path of a file that can be read")
    )
  }
  if (typeof source === "string" && source.includes("-----BEGIN")) return Effect.succeed(source)
  return Effect.map(bytes(option, source), (read) => read.toString("latin1"))
}

/** DER begins with the tag of a SEQUENCE longer than 127 bytes; PEM is what Node wants. */
const toPem = (label: string, text: string) =>
  /^0[\x81-\x84]/.test(text)
    ? `-----BEGIN ${label}-----\n${Buffer.from(text, "latin1").toString("base64")}\n-----END ${label}-----\n`
    : text

const pemCertificate = /-----BEGIN (TRUSTED )?CERTIFICATE-----[^-]*-----END (TRUSTED )?CERTIFICATE-----/g

/** One certificate or several, as PEM. */
export const certificates = Effect.fnUntraced(function*(option: string, source: PemSource) {
  const pem = toPem("CERTIFICATE", yield* text(option, source))
  const found = pem.match(pemCertificate)
  if (found === null) return yield* fail(option, "no PEM certificate in it")
  // Node drops a certificate of an authority that it cannot understand, without a word
  yield* Effect.try({
    try: () => found.map((text) => new Crypto.X509Certificate(text)),
    catch: (cause) => fail(option, "a certificate in it cannot be understood", cause)
  })
  return pem
})

const pemRevocationList = /-----BEGIN X509 CRL-----[^-]*-----END X509 CRL-----/g

/** Revocation lists, each as PEM: Node takes the first of a text only. */
export const revocationLists = Effect.fnUntraced(function*(option: string, source: PemSource) {
  const found = toPem("X509 CRL", yield* text(option, source)).match(pemRevocationList)
  if (found === null) return yield* fail(option, "no revocation list (X509 CRL) in it")
  yield* Effect.try({
    try: () => NodeTls.createSecureContext({ crl: [...found] }),
    catch: (cause) => fail(option, "a revocation list in it cannot be understood", cause)
  })
  return [...found]
})

const privateKey = Effect.fnUntraced(function*(
  option: string,
  source: PemSource | Redacted.Redacted,
  passphrase: Redacted.Redacted | undefined
) {
  const pem = yield* text(option, source)
  // node:tls wants the key as it is; decrypting it here gives one place and one message for a wrong passphrase
  return yield* Effect.try({
    try: () =>
      Crypto.createPrivateKey({
        key: pem,
        ...(passphrase === undefined ? {} : { passphrase: Redacted.value(passphrase) })
      }).export({ type: "pkcs8", format: "pem" }).toString(),
    catch: () => fail(option, "not a PEM private key, or the passphrase is missing or wrong")
  })
})

const pkcs12 = Effect.fnUntraced(function*(
  option: string,
  source: string | Uint8Array,
  passphrase: Redacted.Redacted | undefined
) {
  const credentials = {
    pfx: yield* bytes(option, source),
    ...(passphrase === undefined ? {} : { passphrase: Redacted.value(passphrase) })
  }
  yield* Effect.try({
    try: () => NodeTls.createSecureContext(credentials),
    catch: (cause) =>
      fail(
        option,
        // Node's word for algorithms that OpenSSL has retired
        cause instanceof Error && /unsupported/i.test(cause.message)
          ? "it is encrypted with an algorithm of old (RC2, 3DES); write it anew with a current one"
          : "not a PKCS #12 file with a key, or the passphrase is missing or wrong"
      )
  })
  return credentials
})

/** The certificate and the key, if there are any. `prefix` goes before the names of the options in errors. */
export const credentials = Effect.fnUntraced(function*(options: CredentialOptions, prefix = "") {
  if (options.pfx !== undefined) {
    if (options.cert !== undefined || options.key !== undefined) {
      return yield* fail(`${prefix}pfx`, "it holds a certificate and a key; cert and key cannot be given beside it")
    }
    return yield* pkcs12(`${prefix}pfx`, options.pfx, options.passphrase)
  }
  const cert = options.cert === undefined ? undefined : yield* certificates(`${prefix}cert`, options.cert)
  const key = options.key === undefined ? undefined : yield* privateKey(`${prefix}key`, options.key, options.passphrase)
  if (cert !== undefined && key !== undefined) return { cert, key }
  if (cert === key) return undefined
  return yield* fail(
    `${prefix}${cert === undefined ? "cert" : "key"}`,
    "a certificate and its key go together; one is missing"
  )
})

/** What can be given once or several times. */
export const many = <A>(given: A | ReadonlyArray<A> | undefined): ReadonlyArray<A> =>
  given === undefined ? [] : isMany(given) ? given : [given]

const isMany = <A>(given: A | ReadonlyArray<A>): given is ReadonlyArray<A> => Array.isArray(given)

import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs/promises"
import * as NodeTls from "node:tls"
import { TlsConfigError } from "../../errors/TlsConfigError.ts"

/** PEM text, the bytes of a file, or the path of a file. */
export type PemSource = string | Uint8Array

/** What both sides of TLS can be told. Certificates and names are verified unless an option says otherwise. */
export interface TlsOptions {
  /** Certificate authorities to trust, each as PEM text, bytes or a path. Default: those that Node ships. */
  readonly ca?: PemSource | ReadonlyArray<PemSource> | undefined
  /** Trust the certificate authorities that Node ships beside those of `ca`. Without `ca` they are trusted. Default false. */
  readonly systemCa?: boolean | undefined
  /** Our own certificate, with its chain. Required for servers; for clients it is the client certificate (mTLS). */
  readonly cert?: PemSource | undefined
  /** The private key of `cert`. A text that is no PEM is taken for a path and named in errors; a `Redacted` one never is. */
  readonly key?: PemSource | Redacted.Redacted | undefined
  /** The passphrase of `key`. */
  readonly passphrase?: Redacted.Redacted | undefined
  /** The name to ask for (SNI) and to find in the certificate. Default: the host that is dialled. */
  readonly servername?: string | undefined
  /** Protocols to offer, most wanted first (RFC 7301), such as `["h2"]`. Default: none. */
  readonly alpn?: ReadonlyArray<string> | undefined
  /** The lowest version to speak. Default `"TLSv1.2"`. */
  readonly minVersion?: "TLSv1.2" | "TLSv1.3" | undefined
  /** Server: demand a certificate of each client, issued by one of `ca`, which is then required. Default false. */
  readonly requestClientCertificate?: boolean | undefined
  /** Accept any certificate for any name. Anyone on the path can then read and change everything. Default false. */
  readonly insecureSkipVerify?: boolean | undefined
}

/** Options after files have been read and the key has been tried. */
export interface ResolvedTls {
  readonly context: NodeTls.SecureContext
  /** The same as text, for libraries that build a context of their own. */
  readonly pem: { readonly ca?: Array<string>; readonly cert?: string; readonly key?: string }
  readonly servername: string | undefined
  readonly alpn: ReadonlyArray<string> | undefined
  readonly requestClientCertificate: boolean
  readonly verify: boolean
}

const fail = (option: string, detail: string, cause?: unknown) =>
  new TlsConfigError({ option, detail, ...(cause === undefined ? {} : { cause }) })

const load = (option: string, source: PemSource | Redacted.Redacted): Effect.Effect<string, TlsConfigError> => {
  if (Redacted.isRedacted(source)) {
    // what is no PEM text may still be the key, mangled: neither the text nor the system's error, which quotes it, is told
    return Effect.mapError(
      load(option, Redacted.value(source)),
      () => fail(option, "neither PEM text nor the path of a file that can be read")
    )
  }
  if (typeof source !== "string") return Effect.succeed(Buffer.from(source).toString("latin1"))
  if (source.includes("-----BEGIN")) return Effect.succeed(source)
  return Effect.tryPromise({
    try: () => Fs.readFile(source, "latin1"),
    catch: (cause) => fail(option, `cannot read the file "${source}"`, cause)
  })
}

const pemCertificate = /-----BEGIN (TRUSTED )?CERTIFICATE-----[^-]*-----END (TRUSTED )?CERTIFICATE-----/g

const certificate = Effect.fnUntraced(function*(option: string, source: PemSource) {
  const pem = yield* load(option, source)
  const found = pem.match(pemCertificate)
  if (found === null) return yield* fail(option, "no PEM certificate in it")
  // Node drops a certificate of an authority that it cannot understand, without a word
  yield* Effect.try({
    try: () => found.map((text) => new Crypto.X509Certificate(text)),
    catch: (cause) => fail(option, "a certificate in it cannot be understood", cause)
  })
  return pem
})

const isMany = (ca: PemSource | ReadonlyArray<PemSource>): ca is ReadonlyArray<PemSource> => Array.isArray(ca)

const loadKey = Effect.fnUntraced(function*(options: TlsOptions) {
  if (options.key === undefined) return undefined
  const pem = yield* load("key", options.key)
  // node:tls wants the key as it is; decrypting it here gives one place and one message for a wrong passphrase
  return yield* Effect.try({
    try: () =>
      Crypto.createPrivateKey({
        key: pem,
        ...(options.passphrase === undefined ? {} : { passphrase: Redacted.value(options.passphrase) })
      }).export({ type: "pkcs8", format: "pem" }).toString(),
    catch: () => fail("key", "not a PEM private key, or the passphrase is missing or wrong")
  })
})

/** Reads what the options name and checks that it fits together. */
export const resolve = Effect.fnUntraced(function*(options: TlsOptions) {
  if (options.alpn?.some((name) => name === "" || Buffer.byteLength(name) > 255) === true) {
    return yield* fail("alpn", "a protocol's name has 1 to 255 bytes (RFC 7301)")
  }
  const sources = options.ca === undefined ? [] : isMany(options.ca) ? options.ca : [options.ca]
  const own = yield* Effect.forEach(sources, (source) => certificate("ca", source))
  const ca = own.length === 0 ? undefined : options.systemCa === true ? [...own, ...NodeTls.rootCertificates] : own
  if (options.requestClientCertificate === true && ca === undefined && options.insecureSkipVerify !== true) {
    return yield* fail("ca", "clients' certificates are verified against it, so it must be given")
  }
  const cert = options.cert === undefined ? undefined : yield* certificate("cert", options.cert)
  const key = yield* loadKey(options)
  if ((cert === undefined) !== (key === undefined)) {
    return yield* fail(cert === undefined ? "cert" : "key", "a certificate and its key go together; one is missing")
  }
  const pem = {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key })
  }
  const context = yield* Effect.try({
    try: () => NodeTls.createSecureContext({ ...pem, minVersion: options.minVersion ?? "TLSv1.2" }),
    catch: (cause) => fail("cert", cause instanceof Error ? cause.message : "it cannot be used", cause)
  })
  return {
    context,
    pem,
    servername: options.servername,
    alpn: options.alpn,
    requestClientCertificate: options.requestClientCertificate ?? false,
    verify: options.insecureSkipVerify !== true
  } satisfies ResolvedTls
})

/** The same for a server, which needs a certificate. */
export const resolveServer = Effect.fnUntraced(function*(options: TlsOptions) {
  const tls = yield* resolve(options)
  if (tls.pem.cert === undefined) return yield* fail("cert", "a server needs a certificate and its key")
  return tls
})

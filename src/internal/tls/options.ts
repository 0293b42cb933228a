import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as MutableRef from "effect/MutableRef"
import type * as Redacted from "effect/Redacted"
import * as NodeTls from "node:tls"
import { isDeepStrictEqual } from "node:util"
import type { TlsConfigError } from "../../errors/TlsConfigError.ts"
import * as Context from "./context.ts"
import * as KeyLog from "./keyLog.ts"
import * as Pin from "./pin.ts"
import { Sessions } from "./sessions.ts"
import * as Source from "./source.ts"

export type { CredentialOptions, PemSource } from "./source.ts"

/** What both sides of TLS can be told. Certificates and names are verified unless an option says otherwise. */
export interface TlsOptions {
  /** Certificate authorities to trust, each as PEM text, bytes or a path. Default: those that Node ships. */
  readonly ca?: Source.PemSource | ReadonlyArray<Source.PemSource> | undefined
  /** Trust the certificate authorities that Node ships beside those of `ca`. Without `ca` they are trusted. Default false. */
  readonly systemCa?: boolean | undefined
  /**
   * Revocation lists (RFC 5280), each as PEM, DER or a path. With any of them, the peer's certificate and all its issuers
   * must be on none, and each authority of the chain must have a list that is current: what is not known to be good is
   * refused. Default: revocation is not checked.
   */
  readonly crl?: Source.PemSource | ReadonlyArray<Source.PemSource> | undefined
  /** Our own certificate, with its chain. Required for servers; for clients it is the client certificate (mTLS). */
  readonly cert?: Source.PemSource | undefined
  /** The private key of `cert`. A text that is no PEM is taken for a path and named in errors; a `Redacted` one never is. */
  readonly key?: Source.PemSource | Redacted.Redacted | undefined
  /** The passphrase of `key` or `pfx`. */
  readonly passphrase?: Redacted.Redacted | undefined
  /**
   * Our own certificate, its key and its chain in one PKCS #12 file, instead of `cert` and `key`: its bytes or its path.
   * Authorities in it are trusted as those of `ca` are.
   */
  readonly pfx?: string | Uint8Array | undefined
  /** The name to ask for (SNI) and to find in the certificate. Default: the host that is dialled. */
  readonly servername?: string | undefined
  /** Protocols to offer, most wanted first (RFC 7301), such as `["h2"]`: names of 1 to 255 printable ASCII characters. Default: none. */
  readonly alpn?: ReadonlyArray<string> | undefined
  /** The lowest version to speak. Default `"TLSv1.2"`. */
  readonly minVersion?: "TLSv1.2" | "TLSv1.3" | undefined
  /** The highest version to speak. Default `"TLSv1.3"`. */
  readonly maxVersion?: "TLSv1.2" | "TLSv1.3" | undefined
  /** Cipher suites as OpenSSL writes them, most wanted first, joined by `:`. Default: those of Node. */
  readonly ciphers?: string | undefined
  /**
   * Public keys of which the peer's certificate must have one: the SHA-256 of its SubjectPublicKeyInfo, as `sha256/` and
   * base64, or base64 or hex alone. It is checked beside everything else, and also with `insecureSkipVerify`, where it is
   * then what the peer is known by. Default: any.
   */
  readonly pin?: string | ReadonlyArray<string> | undefined
  /**
   * Take up earlier sessions with less work. A client remembers tickets for as long as its layer lives; a server issues
   * them. Certificates are not verified anew then. Default true.
   */
  readonly resumption?: boolean | undefined
  /** Server: demand a certificate of each client, issued by one of `ca`, which is then required. Default false. */
  readonly requestClientCertificate?: boolean | undefined
  /**
   * Server: certificates for clients that ask for a name; `"*.example.com"` is for every name one label longer. Others get
   * `cert`. Default: none.
   */
  readonly sni?: Readonly<Record<string, Source.CredentialOptions>> | undefined
  /**
   * Server: how often to read the files anew, for certificates that are renewed. Connections that are open stay as they
   * are. When what is read cannot be used, a warning is logged and the old certificates stay in use. Default: never.
   */
  readonly reload?: Duration.Input | undefined
  /**
   * A file to append the keys of all connections to (NSS key log format, as for `SSLKEYLOGFILE`), so that Wireshark can
   * decrypt what it recorded. Whoever has the file can read everything. Default: none.
   */
  readonly keyLog?: string | undefined
  /** Accept any certificate for any name. Anyone on the path can then read and change everything. Default false. */
  readonly insecureSkipVerify?: boolean | undefined
}

/** Options after files have been read and the key has been tried. */
export interface ResolvedTls {
  /** What new connections are made with; replaced when certificates are reloaded. */
  readonly contexts: MutableRef.MutableRef<Context.Contexts>
  readonly servername: string | undefined
  readonly alpn: ReadonlyArray<string> | undefined
  readonly pins: ReadonlyArray<string>
  /** The versions spoken, for messages. */
  readonly versions: string
  /** Whether there is a certificate of our own to show. */
  readonly presents: boolean
  readonly requestClientCertificate: boolean
  readonly verify: boolean
  /** A client's sessions that can be taken up again. */
  readonly sessions: Sessions | undefined
  readonly keyLog: KeyLog.KeyLog | undefined
}

/** What is wrong with the options themselves, whatever the files hold. */
const wrong = (options: TlsOptions): TlsConfigError | undefined => {
  if (options.alpn?.some((name) => !/^[\x20-\x7e]{1,255}$/.test(name)) === true) {
    return Source.fail("alpn", "a protocol's name has 1 to 255 printable ASCII characters (RFC 7301)")
  }
  if (options.minVersion === "TLSv1.3" && options.maxVersion === "TLSv1.2") {
    return Source.fail("minVersion", "it is above maxVersion")
  }
  // Node takes an empty text for the default, and OpenSSL refuses unknown ciphers of earlier versions only
  const unknown = options.ciphers?.split(":").find((name) =>
    name === "" || name.startsWith("TLS_") && !NodeTls.getCiphers().includes(name.toLowerCase())
  )
  if (unknown !== undefined) return Source.fail("ciphers", `OpenSSL knows no cipher suite "${unknown}"`)
  if (options.reload !== undefined && !Duration.isPositive(Duration.fromInputUnsafe(options.reload))) {
    return Source.fail("reload", "the time between two reads has to be more than nothing")
  }
  if (options.requestClientCertificate === true && options.ca === undefined && options.insecureSkipVerify !== true) {
    return Source.fail("ca", "clients' certificates are verified against it, so it must be given")
  }
  return undefined
}

const versions = ({ maxVersion = "TLSv1.3", minVersion = "TLSv1.2" }: TlsOptions) =>
  minVersion === maxVersion ? minVersion : `${minVersion} or ${maxVersion}`

const prepare = Effect.fnUntraced(function*(options: TlsOptions) {
  const problem = wrong(options)
  if (problem !== undefined) return yield* problem
  const pins = yield* Effect.forEach(Source.many(options.pin), Pin.parse)
  const material = yield* Context.read(options)
  const resolved: ResolvedTls = {
    contexts: MutableRef.make(yield* Context.build(options, material)),
    servername: options.servername,
    alpn: options.alpn,
    pins,
    versions: versions(options),
    presents: material.own !== undefined,
    requestClientCertificate: options.requestClientCertificate ?? false,
    verify: options.insecureSkipVerify !== true,
    sessions: options.resumption === false ? undefined : new Sessions(),
    keyLog: options.keyLog === undefined ? undefined : yield* KeyLog.open(options.keyLog)
  }
  return { resolved, material }
})

/** Reads what the options name and checks that it fits together. */
export const resolve = (options: TlsOptions) => Effect.map(prepare(options), ({ resolved }) => resolved)

/** The same for a server, which needs a certificate, and which reads it anew for as long as the scope lives. */
export const resolveServer = Effect.fnUntraced(function*(options: TlsOptions) {
  const { material, resolved } = yield* prepare(options)
  if (material.own === undefined) return yield* Source.fail("cert", "a server needs a certificate and its key")
  if (resolved.pins.length > 0 && !resolved.requestClientCertificate) {
    return yield* Source.fail("pin", "it is for clients' certificates here, and requestClientCertificate is not set")
  }
  if (options.reload !== undefined) {
    let inUse = material
    const reload = Effect.gen(function*() {
      const read = yield* Context.read(options)
      if (isDeepStrictEqual(read, inUse)) return
      MutableRef.set(resolved.contexts, yield* Context.build(options, read))
      inUse = read
      yield* Effect.logInfo("TLS certificates were reloaded")
    }).pipe(
      Effect.catch((error) =>
        Effect.logWarning(`TLS certificates could not be reloaded, the old ones stay in use: ${error.message}`)
      )
    )
    yield* Effect.forkScoped(Effect.forever(Effect.delay(reload, options.reload)))
  }
  return resolved
})

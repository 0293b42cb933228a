import type * as Duration from "effect/Duration"
import type * as Redacted from "effect/Redacted"
import type { CredentialOptions, PemSource } from "./source.ts"

/** What both sides of TLS can be told. Certificates and names are verified unless an option says otherwise. */
export interface TlsOptions {
  /** Certificate authorities to trust, each as PEM text, bytes or a path. Default: those that Node ships. */
  readonly ca?: PemSource | ReadonlyArray<PemSource> | undefined
  /** Trust the certificate authorities that Node ships beside those of `ca`. Without `ca` they are trusted. Default false. */
  readonly systemCa?: boolean | undefined
  /**
   * Revocation lists (RFC 5280), each as PEM, DER or a path. With any of them, the peer's certificate and all its issuers
   * must be on none, and each authority of the chain must have a list that is current: what is not known to be good is
   * refused. Default: revocation is not checked.
   */
  readonly crl?: PemSource | ReadonlyArray<PemSource> | undefined
  /** Our own certificate, with its chain. Required for servers; for clients it is the client certificate (mTLS). */
  readonly cert?: PemSource | undefined
  /** The private key of `cert`. A text that is no PEM is taken for a path and named in errors; a `Redacted` one never is. */
  readonly key?: PemSource | Redacted.Redacted | undefined
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
  readonly sni?: Readonly<Record<string, CredentialOptions>> | undefined
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

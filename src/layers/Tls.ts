/**
 * TLS on every connection that is dialled through it.
 *
 * `Tls.layer` takes the Dialer below and gives one whose connections are encrypted and whose peers are verified: the
 * certificate must be issued by a trusted authority, valid today, and for the name that was dialled.
 *
 * **Details**
 *
 * - It is a step of the path like any other: over a proxy it is TLS to the target through the proxy.
 * - Files named in the options are read, and keys tried, when the layer is built; what is wrong with them is a
 *   `TlsConfigError` that names the option. A failed handshake is a `DialError` with reason `TlsHandshake`, whose `check`
 *   says what failed, with what was `expected` and what was `received`.
 * - Versions below TLS 1.2 are not spoken.
 * - A layer remembers the sessions of its peers (32 tickets of each of 64 peers at most) and takes them up on later dials,
 *   which saves both sides most of the work. `TlsInfo.resumed` tells. No session outlives the certificates it began with,
 *   nor the layer.
 *
 * | option                     | default           | what it does                                                        |
 * | -------------------------- | ----------------- | ------------------------------------------------------------------- |
 * | `ca`                       | those of Node     | certificate authorities to trust                                    |
 * | `systemCa`                 | false             | trust those of Node beside `ca`                                     |
 * | `crl`                      | no check          | revocation lists; each authority of the chain must have one         |
 * | `cert`, `key`              | none              | our own certificate and its key; a server needs them                |
 * | `pfx`                      | none              | both, and the chain, in one PKCS #12 file                           |
 * | `passphrase`               | none              | of `key` or `pfx`                                                   |
 * | `servername`               | the host dialled  | the name to ask for and to find in the certificate                  |
 * | `alpn`                     | none              | protocols to offer, most wanted first                               |
 * | `minVersion`, `maxVersion` | TLS 1.2, TLS 1.3  | versions to speak                                                   |
 * | `ciphers`                  | those of Node     | cipher suites, as OpenSSL writes them                               |
 * | `pin`                      | any key           | SHA-256 of public keys of which the peer must have one              |
 * | `resumption`               | true              | take up sessions (client), issue tickets (server)                   |
 * | `requestClientCertificate` | false             | server: demand a certificate issued by one of `ca`                  |
 * | `sni`                      | none              | server: certificates by name                                        |
 * | `reload`                   | never             | server: how often to read the files anew                            |
 * | `keyLog`                   | none              | a file for all keys: whoever has it can read everything             |
 * | `insecureSkipVerify`       | false             | accept any certificate for any name; a `pin` is checked all the same |
 *
 * | `check`             | expected                                    | received                                     |
 * | ------------------- | ------------------------------------------- | -------------------------------------------- |
 * | `name`              | the name that was dialled                   | the names in the certificate                 |
 * | `expired`           | valid now                                   | which certificate of the chain, until when   |
 * | `notYetValid`       | valid now                                   | which certificate of the chain, from when    |
 * | `issuer`            | issued by a trusted authority               | its subject and issuer                       |
 * | `selfSigned`        | issued by a trusted authority               | its subject                                  |
 * | `revoked`           | on no list, and lists that are current      | its subject and issuer                       |
 * | `pin`               | the pins of the options                     | the pin of the peer's key                    |
 * | `clientCertificate` | a client certificate that is accepted       | none, or what is wrong with it               |
 * | `protocol`          | our versions, ciphers or ALPN protocols; or TLS | what the other side offered, as far as known |
 * | `closed`            |                                             |                                              |
 *
 * **Gotchas**
 *
 * - In TLS 1.3 a server refuses a client certificate after the handshake: the refusal then comes with the first read, as
 *   a `TcpError`.
 * - A resumed session is not verified anew: a certificate that was revoked meanwhile counts for as long as the server's
 *   ticket does, or until the server reloads. Where that is too long, set `resumption: false`.
 * - A pin is of the peer's own key, not of its issuer's: pin the next key beside the present one before it changes.
 *   `openssl x509 -pubkey -noout -in cert.pem | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64`
 *   prints one, and `TlsInfo.peer.pin` is one.
 * - A server that goes on in TLS (STARTTLS) gives its go-ahead as the `reply` of `upgradeTls`. When it writes that itself
 *   before, the client's handshake may be there before `upgradeTls` looks for bytes that were not read, and is refused as
 *   `PlaintextBuffered`.
 * - Node does not tell an end with TLS's own goodbye (close_notify) from one without: where a peer that is cut off matters,
 *   let the protocol inside say how much is to come.
 *
 * **Example** (Talking to a server with a private certificate authority)
 *
 * ```ts
 * import { Layer } from "effect"
 * import { Dialer, TcpClient, Tls } from "hawser"
 *
 * const Live = TcpClient.layer.pipe(
 *   Layer.provide(Tls.layer({ ca: "./internal-ca.pem" })),
 *   Layer.provide(Dialer.layer)
 * )
 * ```
 *
 * **Example** (Serving two names with certificates that are renewed)
 *
 * ```ts
 * import { Layer } from "effect"
 * import { Listener, TcpServer } from "hawser"
 *
 * const Server = TcpServer.layer({
 *   port: 8443,
 *   tls: {
 *     cert: "/etc/tls/example.com.pem",
 *     key: "/etc/tls/example.com.key",
 *     sni: { "*.example.org": { cert: "/etc/tls/example.org.pem", key: "/etc/tls/example.org.key" } },
 *     reload: "1 hour"
 *   }
 * }).pipe(Layer.provide(Listener.layer))
 * ```
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { TlsConfigError } from "../errors/TlsConfigError.ts"
import { tlsHop } from "../internal/tls/handshake.ts"
import * as Options from "../internal/tls/options.ts"
import * as Dialer from "../services/Dialer.ts"

export type {
  /**
   * A certificate and its key, in one of the two ways they come: for a name of `sni`.
   *
   * @category models
   * @since 0.1.0
   */
  CredentialOptions,
  /**
   * PEM text, the bytes of a file (PEM, or DER for certificates and revocation lists), or the path of a file.
   *
   * @category models
   * @since 0.1.0
   */
  PemSource,
  /**
   * The one options type for TLS, on both sides and in every service.
   *
   * @category models
   * @since 0.1.0
   */
  TlsOptions
} from "../internal/tls/options.ts"

export type {
  /**
   * A certificate that a peer has shown.
   *
   * @category models
   * @since 0.1.0
   */
  PeerCertificate,
  /**
   * What the TLS layer of a connection agreed on.
   *
   * @category models
   * @since 0.1.0
   */
  TlsInfo
} from "../internal/tls/info.ts"

/**
 * A Dialer whose connections are encrypted and verified. Each call makes a new layer. Fails with `TlsConfigError` when
 * the options cannot be used.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Options.TlsOptions = {}
): Layer.Layer<Dialer.Dialer, TlsConfigError, Dialer.Dialer> =>
  Dialer.layerThrough(Effect.map(Options.resolve(options), tlsHop))

/**
 * The same, with options from `Config`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options.TlsOptions>
): Layer.Layer<Dialer.Dialer, TlsConfigError | Config.ConfigError, Dialer.Dialer> =>
  Dialer.layerThrough(Effect.map(Effect.flatMap(Config.unwrap(options), Options.resolve), tlsHop))

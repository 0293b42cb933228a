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
 *   says what failed: `name`, `expired`, `notYetValid`, `issuer`, `revoked`, `clientCertificate`, `protocol`, `closed`.
 * - Versions below TLS 1.2 are not spoken.
 *
 * **Gotchas**
 *
 * - In TLS 1.3 a server refuses a client certificate after the handshake: the refusal then comes with the first read, as
 *   a `TcpError`.
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
   * PEM text, the bytes of a file, or the path of a file.
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
   * What the TLS layer of a connection agreed on.
   *
   * @category models
   * @since 0.1.0
   */
  TlsInfo
} from "../internal/tls/handshake.ts"

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

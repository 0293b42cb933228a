/**
 * A Dialer that dials from an SSH server: a jump host, as `ssh -J` has it.
 *
 * The layer opens one session when it is built and closes it when it is released. Each dial is a channel of that session,
 * so a hundred connections through the tunnel cost one login. Names are resolved by the server.
 *
 * **Details**
 *
 * - Layers stack: an SshTunnel over an SshTunnel is a chain of jump hosts; over a Proxy it leaves through the proxy. The
 *   settings may have `jump` hosts and a `proxyCommand` of their own, as `SshSettings.fromConfig` gives them.
 * - A target that the server cannot reach is `Refused`, `NameNotFound` or `Unreachable` where the server says so in words
 *   that OpenSSH uses, and `TunnelRefused` otherwise.
 * - When the session is lost, what was dialled through it ends with an error, and every later dial fails with
 *   `TunnelRefused`. The layer does not log in again by itself.
 *
 * **Example** (A database behind a bastion)
 *
 * ```ts
 * import { Layer, Redacted } from "effect"
 * import { Dialer, SshAuth, SshTunnel, TcpClient } from "hawser"
 *
 * const Bastion = SshTunnel.layer({
 *   host: "bastion",
 *   username: "ops",
 *   auth: SshAuth.password(Redacted.make("secret"))
 * })
 *
 * const Live = TcpClient.layer.pipe(
 *   Layer.provide(Bastion),
 *   Layer.provide(Dialer.layer)
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { DialError } from "../errors/DialError.ts"
import type { SshError } from "../errors/SshError.ts"
import { Dialer } from "../services/Dialer.ts"
import { Listener } from "../services/Listener.ts"
import * as Ssh from "../services/Ssh.ts"
import type * as SshSettings from "../services/SshSettings.ts"

/**
 * Dials through an SSH server. Fails to build as `Ssh.connect` fails. Each call makes a new layer with a session of its own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (settings: SshSettings.SshSettings): Layer.Layer<Dialer, DialError | SshError, Dialer> =>
  Layer.fresh(Layer.effect(
    Dialer,
    Effect.gen(function*() {
      const session = yield* Ssh.make(yield* Dialer).connect(settings)
      return Dialer.of(session.dialer)
    })
  ))

/**
 * Listens on an SSH server, as `ssh -R` does: a `TcpServer` over this layer serves there. See `SshSession.listener` for its
 * options and errors. Fails to build as `Ssh.connect` fails. Each call makes a new layer with a session of its own.
 *
 * **Example** (A server behind a NAT, reached at a port of another machine)
 *
 * ```ts
 * import { Layer } from "effect"
 * import { Dialer, SshAuth, SshTunnel, TcpServer } from "hawser"
 *
 * const Live = TcpServer.layer({ host: "0.0.0.0", port: 8080 }).pipe(
 *   Layer.provide(SshTunnel.layerListener({ host: "relay.example.com", username: "ops", auth: SshAuth.agent() })),
 *   Layer.provide(Dialer.layer)
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerListener = (
  settings: SshSettings.SshSettings
): Layer.Layer<Listener, DialError | SshError, Dialer> =>
  Layer.fresh(Layer.effect(
    Listener,
    Effect.gen(function*() {
      const session = yield* Ssh.make(yield* Dialer).connect(settings)
      return Listener.of(session.listener)
    })
  ))

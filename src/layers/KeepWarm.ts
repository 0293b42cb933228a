/**
 * Has connections ready before they are asked for: a dial of a target that was dialled before takes one that is open
 * already, TLS handshakes and proxies included, and another one is dialled in its place.
 *
 * `KeepWarm.layer` takes the Dialer below and gives a Dialer. Connections are not used again: a Dialer cannot know what a
 * protocol has left behind on one. Each is fresh, and belongs to the one dial that takes it.
 *
 * **Details**
 *
 * - After a dial of a target there are `minIdle` connections to it, dialled in the background. That one of those fails is
 *   not reported; the next dial goes its own way and says why.
 * - One that nobody takes is closed after `idleTimeToLive` and not replaced: a target that is not dialled any more costs
 *   nothing after that time. One that the peer ends is closed at once.
 * - A dial takes only what is open and passes the `healthCheck`, the oldest first. When there is none it dials.
 * - Of more than `maxTargets` targets the one that was not dialled for the longest time is given up.
 * - When the layer ends those that nobody has taken are closed.
 *
 * The errors are those of the Dialer below, and `InvalidTarget` with `"keep-warm"` as its `hop`.
 *
 * **Gotchas**
 *
 * Servers count idle connections too, and close them when it suits them: keep `idleTimeToLive` below their limit. What a
 * server says first, a greeting, waits in the connection for whoever takes it.
 *
 * **Example** (Two TLS connections in reserve)
 *
 * ```ts
 * import { Layer } from "effect"
 * import { Dialer, KeepWarm, Tls } from "hawser"
 *
 * const Network = KeepWarm.layer({ minIdle: 2, idleTimeToLive: "20 seconds" }).pipe(
 *   Layer.provide(Tls.layer({})),
 *   Layer.provide(Dialer.layer)
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Duplex } from "node:stream"
import { keepWarm } from "../internal/net/keepWarm.ts"
import * as Dialer from "../services/Dialer.ts"

/**
 * What to keep.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeepWarmOptions {
  /** How many connections are in reserve for each target. Default 1. */
  readonly minIdle?: number | undefined
  /** How long a connection that nobody takes is kept. Default 30 seconds. */
  readonly idleTimeToLive?: Duration.Input | undefined
  /** For how many targets at most. Default 64. */
  readonly maxTargets?: number | undefined
  /**
   * Whether a connection that is about to be taken is good, as far as its protocol tells; it must leave the stream as it
   * finds it. One that takes longer than a second to say is not. Default: every connection that is open.
   */
  readonly healthCheck?: ((duplex: Duplex) => Effect.Effect<boolean>) | undefined
}

const atLeastOne = (count: number) => Math.max(1, Math.floor(count))

/**
 * A Dialer with connections in reserve. Each call makes a new layer, with a reserve of its own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: KeepWarmOptions = {}): Layer.Layer<Dialer.Dialer, never, Dialer.Dialer> =>
  Layer.fresh(
    Layer.effect(
      Dialer.Dialer,
      Effect.flatMap(Dialer.Dialer, (below) =>
        keepWarm(below, {
          minIdle: atLeastOne(options.minIdle ?? 1),
          idleTimeToLive: Duration.fromInputUnsafe(options.idleTimeToLive ?? "30 seconds"),
          maxTargets: atLeastOne(options.maxTargets ?? 64),
          healthCheck: options.healthCheck ?? (() => Effect.succeed(true))
        }))
    )
  )

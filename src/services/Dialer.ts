/**
 * The one way out: everything in this library reaches its peer through a `Dialer`.
 *
 * A Dialer turns a target into an open byte stream in a scope. `Dialer.layer` is the operating system's network. TLS,
 * proxies, SSH tunnels and the test network are layers that take a Dialer and give a Dialer, so whatever dials can run
 * over any of them, stacked in any order.
 *
 * **Details**
 *
 * - A target is `"db:5432"`, `"[::1]:80"`, `{ host, port }`, `{ path }` for a unix socket, or an address of `effect/net`.
 * - The stream that comes back is a Node `Duplex`, because that is what TLS, SOCKS, SSH, HTTP/2 and Effect's own
 *   `NodeSocket.fromDuplex` accept. It is not flowing, has an error listener (a late error never ends the process), may
 *   be half-open, and is closed with the scope. What was written is flushed first, unless the scope was interrupted.
 * - A failed or interrupted dial leaves nothing open.
 *
 * **Gotchas**
 *
 * Effect builds a layer value once per program and shares it. Layers that wrap a Dialer are therefore made by calling a
 * function, each call a new layer: keep it so when you write your own (`layerThrough` does), or two paths in one program
 * silently become one and bypass a proxy.
 *
 * **Example** (Dialling through a SOCKS proxy, with TLS inside)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { Dialer, Proxy, Tls } from "hawser"
 *
 * const Network = Tls.layer({ ca: "./ca.pem" }).pipe(
 *   Layer.provide(Proxy.layer("socks5://127.0.0.1:1080")),
 *   Layer.provide(Dialer.layer)
 * )
 *
 * const program = Effect.scoped(
 *   Dialer.Dialer.use((dialer) => dialer.dial("db.internal:5432", { connectTimeout: "3 seconds" }))
 * ).pipe(Effect.provide(Network))
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as NetDial from "../internal/net/dial.ts"
import * as Hop from "../internal/net/hop.ts"

export type {
  /**
   * Options of one dial.
   *
   * @category models
   * @since 0.1.0
   */
  DialOptions,
  /**
   * One step of a path: what has to be dialled below, and what is done on that connection before it leads to the target.
   *
   * @category models
   * @since 0.1.0
   */
  Hop
} from "../internal/net/hop.ts"

export type {
  /**
   * What can be dialled.
   *
   * @category models
   * @since 0.1.0
   */
  DialTarget
} from "../internal/net/target.ts"

/**
 * The service: `dial` opens a connection to a target for as long as the scope lives and fails with `DialError`;
 * `connectTimeout` is what a dial may take, over the whole path, when its caller does not say.
 *
 * @category services
 * @since 0.1.0
 */
export class Dialer extends Context.Service<Dialer, Hop.Path>()("hawser/Dialer") {}

/**
 * Settings of the operating system's network.
 *
 * @category models
 * @since 0.1.0
 */
export interface DirectOptions {
  /** How long a dial may take, over the whole path, when its caller does not say. Default 10 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /** Send small writes at once (`TCP_NODELAY`). Default true. */
  readonly noDelay?: boolean | undefined
  /** Idle time before the first TCP keep-alive probe, or `false` for none. Default 60 seconds. */
  readonly keepAlive?: Duration.Input | false | undefined
  /** How long an address gets before the next one is tried beside it (RFC 8305). Default 250 milliseconds. */
  readonly attemptDelay?: Duration.Input | undefined
}

/**
 * The operating system's network, with settings. Names with several addresses are dialled by Happy Eyeballs (RFC 8305):
 * the families alternate, each attempt gets a head start, the first connection wins.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: DirectOptions): Layer.Layer<Dialer> => {
  const connectTimeout = Duration.fromInputUnsafe(options.connectTimeout ?? "10 seconds")
  const direct: Omit<NetDial.DirectOptions, "connectTimeout"> = {
    noDelay: options.noDelay ?? true,
    keepAlive: options.keepAlive === false ? undefined : Duration.fromInputUnsafe(options.keepAlive ?? "60 seconds"),
    attemptDelay: Duration.fromInputUnsafe(options.attemptDelay ?? "250 millis")
  }
  return Layer.succeed(Dialer, {
    connectTimeout,
    dial: Effect.fn("Dialer.dial")(function*(input, options) {
      const target = yield* Hop.parseTarget(input, "direct")
      const dial = NetDial.dial(target, {
        ...direct,
        connectTimeout: options?.connectTimeout === undefined
          ? connectTimeout
          : Duration.fromInputUnsafe(options.connectTimeout)
      })
      return yield* Hop.reported(dial, target, "direct")
    })
  })
}

/**
 * The operating system's network with the defaults of `layerWith`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Dialer> = layerWith({})

/**
 * A Dialer that goes through another one and then takes one more step. Use it to write a path layer of your own; TLS and
 * proxies are written with it.
 *
 * @category combinators
 * @since 0.1.0
 */
export const through = (below: Dialer["Service"], hop: Hop.Hop): Dialer["Service"] => {
  const path = Hop.through(below, hop)
  return {
    ...path,
    dial: (target, options) => Effect.withSpan(path.dial(target, options), `Dialer.dial ${hop.name}`)
  }
}

/**
 * A layer of your own: takes the Dialer below and adds one step. Each call makes a new layer, see the module's gotchas.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerThrough = <E = never, R = never>(
  hop: Effect.Effect<Hop.Hop, E, R>
): Layer.Layer<Dialer, E, Dialer | R> =>
  Layer.fresh(Layer.effect(
    Dialer,
    Effect.gen(function*() {
      const below = yield* Dialer
      return Dialer.of(through(below, yield* hop))
    })
  ))

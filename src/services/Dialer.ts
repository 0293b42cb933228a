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
 *   A path that begins with a NUL is an abstract socket of Linux, written with an `@` in messages.
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
 * What `Layer.provide` and `Layer.merge` make of such layers is one value again. A piece of a path that is kept for several
 * paths, `Tls.layer().pipe(Layer.provide(Proxy.layer(url)))`, is built over the first of them only, and the others get that
 * one. Keep it as a function, or as `Layer.fresh(...)` of the whole.
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
import * as Dns from "effect/net/Dns"
import { DialError } from "../errors/DialError.ts"
import * as NetDial from "../internal/net/dial.ts"
import * as Hop from "../internal/net/hop.ts"
import * as Resolve from "../internal/net/resolve.ts"
import * as Target from "../internal/net/target.ts"

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
  /**
   * How long IPv4 addresses that are known wait for the IPv6 ones (RFC 8305), where the two are asked for apart, as in
   * `layerDns`. Default 50 milliseconds.
   */
  readonly resolutionDelay?: Duration.Input | undefined
  /**
   * The IP address of this machine to dial from; only targets of its family can be reached, and of a name only those
   * addresses are tried. Default: what the system chooses.
   */
  readonly localAddress?: string | undefined
  /** The port to dial from, which allows one connection to a target at a time. Default: what the system chooses. */
  readonly localPort?: number | undefined
}

const direct = (options: DirectOptions, resolver: Resolve.Resolver): Dialer["Service"] => {
  const connectTimeout = Duration.fromInputUnsafe(options.connectTimeout ?? "10 seconds")
  const settings: NetDial.DirectOptions = {
    resolver,
    noDelay: options.noDelay ?? true,
    keepAlive: options.keepAlive === false ? undefined : Duration.fromInputUnsafe(options.keepAlive ?? "60 seconds"),
    localAddress: options.localAddress,
    localPort: options.localPort,
    attemptDelay: Duration.fromInputUnsafe(options.attemptDelay ?? "250 millis"),
    resolutionDelay: Duration.fromInputUnsafe(options.resolutionDelay ?? "50 millis")
  }
  return {
    connectTimeout,
    dial: Hop.dialing("direct", (target, options) =>
      Effect.mapError(
        NetDial.dial(target, settings, Hop.budgetOf(options, connectTimeout)),
        (reason) => new DialError({ target: Target.format(target), hop: "direct", reason })
      ))
  }
}

/**
 * The operating system's network, with settings. Names are resolved by the system and dialled by Happy Eyeballs (RFC
 * 8305): the families alternate, each attempt gets a head start, the first connection wins.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: DirectOptions): Layer.Layer<Dialer> =>
  Layer.succeed(Dialer, direct(options, Resolve.system))

/**
 * The operating system's network with the defaults of `layerWith`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Dialer> = layerWith({})

/**
 * The operating system's network, but names are resolved by Effect's `Dns`: a fixed zone, DNS over HTTPS, a name server of
 * your own. Each call makes a new layer.
 *
 * **Details**
 *
 * IPv6 and IPv4 addresses are asked for at the same time. Dialling starts with the IPv6 ones, or with the IPv4 ones when
 * the others have not come `resolutionDelay` later; addresses that come later join the race. A name that has no address
 * fails with `NameNotFound`, whose `code` is the reason of the `DnsError`.
 *
 * **Example** (Names that only this program knows)
 *
 * ```ts
 * import { Layer } from "effect"
 * import { Dns } from "effect/net"
 * import { Dialer } from "hawser"
 *
 * const Network = Dialer.layerDns().pipe(
 *   Layer.provide(Dns.layerStatic({ hosts: { "db.internal": ["10.0.0.5", "fd00::5"] } }))
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerDns = (options: DirectOptions = {}): Layer.Layer<Dialer, never, Dns.Dns> =>
  Layer.fresh(Layer.effect(Dialer, Dns.Dns.useSync((dns) => direct(options, Resolve.fromDns(dns)))))

/**
 * A Dialer that goes through another one and then takes one more step. Use it to write a path layer of your own; TLS and
 * proxies are written with it.
 *
 * @category combinators
 * @since 0.1.0
 */
export const through = (below: Dialer["Service"], hop: Hop.Hop): Dialer["Service"] => Hop.through(below, hop)

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

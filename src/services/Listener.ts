/**
 * The one way in: everything in this library that is connected to listens through a `Listener`.
 *
 * `Listener.layer` is the operating system's network; the test network gives another one.
 *
 * **Details**
 *
 * - Connections are taken one at a time with `accept`. Node takes them from the kernel's backlog as they come; those that
 *   nobody has accepted yet wait, unread, up to `pending` of them, and further ones are closed.
 * - A unix socket's file is removed with the listener. One that a dead server has left behind, so that nobody answers
 *   there, is replaced; where somebody answers, or where the file is something else, the address is in use.
 *
 * **Example** (Greeting one client)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Connection, Listener } from "hawser"
 *
 * const greetOne = Effect.scoped(Effect.gen(function*() {
 *   const listener = yield* Listener.Listener
 *   const { accept } = yield* listener.bind({ host: "127.0.0.1", port: 0 })
 *   const connection = yield* Connection.fromDuplex(yield* accept)
 *   yield* connection.write("hello\n")
 * }))
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { TcpError, Unknown } from "../errors/TcpError.ts"
import * as NetListen from "../internal/net/listen.ts"
import type { DialTarget } from "../internal/net/target.ts"
import * as Target from "../internal/net/target.ts"

/**
 * Options of one `bind`.
 *
 * @category models
 * @since 0.1.0
 */
export interface BindOptions {
  /** How many connections the kernel holds that Node has not taken yet (`listen(2)`). Default 511. */
  readonly backlog?: number | undefined
  /** How many connections may wait for `accept`; further ones are closed. Default 128. */
  readonly pending?: number | undefined
  /** The permissions of a unix socket's file, such as `0o660`. Default: what the process's umask leaves. */
  readonly mode?: number | undefined
}

/**
 * A bound address.
 *
 * **Details**
 *
 * `address` is the real one (with the port that was chosen when 0 was asked for). `accept` waits for the next connection
 * and gives its stream, closed with the scope it was accepted in; it fails with `Closed` once the listener is closed.
 * `receive` is for servers: it calls back with each connection as it comes, for as long as the receiver is ready, without
 * a fiber that waits; such a connection is the receiver's to close.
 *
 * @category models
 * @since 0.1.0
 */
export interface Bound extends NetListen.Bound {}

/**
 * The service: `bind` listens on an address for as long as the scope lives. Errors: `AddressInUse`, `PermissionDenied`,
 * `Unknown` (an address that is not of this machine, or cannot be understood).
 *
 * @category services
 * @since 0.1.0
 */
export class Listener extends Context.Service<Listener, {
  readonly bind: (address: DialTarget, options?: BindOptions) => Effect.Effect<Bound, TcpError, Scope.Scope>
}>()("hawser/Listener") {}

/**
 * Understands an address to listen on.
 *
 * @internal
 */
export const parseAddress = (input: DialTarget): Effect.Effect<Target.Target, TcpError> =>
  Effect.mapError(
    Effect.fromResult(Target.parseAddress(input)),
    (reason) => new TcpError({ reason: new Unknown({ detail: `cannot listen: ${reason.message}` }) })
  )

/**
 * The operating system's network.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Listener> = Layer.succeed(Listener, {
  bind: Effect.fn("Listener.bind")(function*(input, options) {
    const target = yield* parseAddress(input)
    return yield* NetListen.bind(target, Target.format(target), {
      backlog: options?.backlog ?? 511,
      pending: options?.pending ?? 128,
      mode: options?.mode
    })
  })
})

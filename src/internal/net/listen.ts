import * as Effect from "effect/Effect"
import { formatHost, isHostPort } from "effect/net/Host"
import * as NetAddress from "effect/net/NetAddress"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import { AddressInUse, PermissionDenied, TcpError, type TcpErrorReason, Unknown } from "../../errors/TcpError.ts"
import { guardErrors } from "./duplex.ts"
import type * as Target from "./target.ts"
import { Waiting } from "./waiting.ts"

export interface BindOptions {
  readonly backlog: number
  readonly pending: number
}

export interface Bound {
  readonly address: NetAddress.SocketAddress
  readonly accept: Effect.Effect<Duplex, TcpError, Scope.Scope>
}

const reasonOf = (cause: NodeJS.ErrnoException, address: string): TcpErrorReason => {
  switch (cause.code) {
    case "EADDRINUSE":
      return new AddressInUse({ address, cause })
    case "EACCES":
    case "EPERM":
      return new PermissionDenied({ address, cause })
    default:
      return new Unknown({ detail: `cannot listen on ${address}: ${cause.message}`, cause })
  }
}

const listen = (target: Target.Target, address: string, options: BindOptions, waiting: Waiting) =>
  Effect.callback<Net.Server, TcpError>((resume) => {
    const server = Net.createServer(
      { allowHalfOpen: true, noDelay: true },
      (socket) => waiting.offer(guardErrors(socket))
    )
    server.once("error", (cause) => resume(Effect.fail(new TcpError({ reason: reasonOf(cause, address) }))))
    server.listen({
      backlog: options.backlog,
      ...(isHostPort(target) ? { host: formatHost(target.host), port: target.port } : { path: target.path })
    }, () => {
      // later errors are of single connections (EMFILE while accepting); the listener itself goes on
      server.removeAllListeners("error").on("error", () => {})
      resume(Effect.succeed(server))
    })
    return Effect.sync(() => void server.close())
  })

/** Listens with the operating system's own network. */
export const bind = Effect.fnUntraced(function*(target: Target.Target, address: string, options: BindOptions) {
  const waiting = new Waiting(options.pending)
  const server = yield* Effect.acquireRelease(
    listen(target, address, options, waiting),
    (server) =>
      Effect.sync(() => {
        waiting.close()
        // connections that were taken belong to their own scopes; only listening ends here
        server.close()
      }),
    { interruptible: true }
  )
  const bound = server.address()
  return {
    address: bound === null || typeof bound === "string"
      ? NetAddress.unixPathAddress(bound ?? address)
      : NetAddress.inetAddressFromNativeUnsafe(bound.address, bound.port),
    accept: waiting.accept
  } satisfies Bound
})

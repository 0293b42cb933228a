import * as Effect from "effect/Effect"
import { formatHost, isHostPort } from "effect/net/Host"
import * as NetAddress from "effect/net/NetAddress"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import { AddressInUse, Closed, PermissionDenied, TcpError, type TcpErrorReason, Unknown } from "../errors/TcpError.ts"
import { close, guardErrors } from "./duplex.ts"
import type * as Target from "./target.ts"

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

/** Connections that the system has accepted and nobody has taken yet; what they send stays in the kernel and in Node. */
class Waiting {
  private readonly sockets = new Set<Net.Socket>()
  private readonly takers = new Set<(socket: Effect.Effect<Net.Socket, TcpError>) => void>()
  private closed = false

  private readonly limit: number
  constructor(limit: number) {
    this.limit = limit
  }

  offer(socket: Net.Socket): void {
    const [taker] = this.takers
    if (taker !== undefined) {
      this.takers.delete(taker)
      return taker(Effect.succeed(socket))
    }
    if (this.sockets.size >= this.limit) return void socket.destroy()
    this.sockets.add(socket)
    socket.once("close", () => this.sockets.delete(socket))
  }

  readonly take = Effect.callback<Net.Socket, TcpError>((resume) => {
    const [socket] = this.sockets
    if (socket !== undefined) {
      this.sockets.delete(socket)
      return resume(Effect.succeed(socket))
    }
    if (this.closed) return resume(Effect.fail(new TcpError({ reason: new Closed() })))
    this.takers.add(resume)
    return Effect.sync(() => void this.takers.delete(resume))
  })

  close(): void {
    this.closed = true
    for (const socket of this.sockets) socket.destroy()
    for (const taker of this.takers) taker(Effect.fail(new TcpError({ reason: new Closed() })))
    this.takers.clear()
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
      Effect.callback<void>((resume) => {
        waiting.close()
        // connections that were taken belong to their own scopes; only listening ends here
        server.close()
        resume(Effect.void)
      }),
    { interruptible: true }
  )
  const bound = server.address()
  return {
    address: bound === null || typeof bound === "string"
      ? NetAddress.unixPathAddress(bound ?? address)
      : NetAddress.inetAddressFromNativeUnsafe(bound.address, bound.port),
    accept: Effect.acquireRelease(waiting.take, close, { interruptible: true })
  } satisfies Bound
})

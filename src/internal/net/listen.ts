import * as Effect from "effect/Effect"
import { formatHost, isHostPort } from "effect/net/Host"
import * as NetAddress from "effect/net/NetAddress"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import { AddressInUse, PermissionDenied, TcpError, type TcpErrorReason, Unknown } from "../../errors/TcpError.ts"
import { guardErrors } from "./owner.ts"
import type * as Target from "./target.ts"
import { type Receiver, type Reception, Waiting } from "./waiting.ts"

export interface BindOptions {
  readonly backlog: number
  readonly pending: number
  readonly mode: number | undefined
}

export interface Bound {
  readonly address: NetAddress.SocketAddress
  readonly accept: Effect.Effect<Duplex, TcpError, Scope.Scope>
  readonly receive: (receiver: Receiver) => Reception
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

const errorOf = (cause: NodeJS.ErrnoException, address: string) => new TcpError({ reason: reasonOf(cause, address) })

const listen = (target: Target.Target, address: string, options: BindOptions, waiting: Waiting) =>
  Effect.callback<Net.Server, TcpError>((resume) => {
    const server = Net.createServer(
      { allowHalfOpen: true, noDelay: true },
      (socket) => waiting.offer(guardErrors(socket))
    )
    server.once("error", (cause) => resume(Effect.fail(errorOf(cause, address))))
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

/** Whether a socket file is all that is left of a server: it is one, and nobody answers. */
const isLeftBehind = (path: string): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    if (Fs.statSync(path, { throwIfNoEntry: false })?.isSocket() !== true) return resume(Effect.succeed(false))
    const socket = Net.connect({ path })
      .once("connect", () => settle(false))
      .once("error", (cause: NodeJS.ErrnoException) => settle(cause.code === "ECONNREFUSED"))
    const settle = (leftBehind: boolean) => {
      socket.destroy()
      resume(Effect.succeed(leftBehind))
    }
    return Effect.sync(() => void socket.destroy())
  })

const onFile = (path: string, address: string, step: () => void): Effect.Effect<void, TcpError> =>
  Effect.try({
    try: step,
    catch: (cause) => errorOf(cause instanceof Error ? cause : new Error(`${path}: ${String(cause)}`), address)
  })

/** Listens; where a dead server has left its socket file behind, in place of that one. */
const listenOrReplace = (target: Target.Target, address: string, options: BindOptions, waiting: Waiting) => {
  const attempt = listen(target, address, options, waiting)
  if (isHostPort(target)) return attempt
  const { path } = target
  return Effect.catchReason(
    attempt,
    "TcpError",
    "AddressInUse",
    (reason) =>
      Effect.flatMap(isLeftBehind(path), (leftBehind) =>
        leftBehind
          ? Effect.andThen(onFile(path, address, () => Fs.unlinkSync(path)), attempt)
          : Effect.fail(new TcpError({ reason })))
  )
}

/** Listens with the operating system's own network. */
export const bind = Effect.fnUntraced(function*(target: Target.Target, address: string, options: BindOptions) {
  const waiting = new Waiting(options.pending)
  const server = yield* Effect.acquireRelease(
    listenOrReplace(target, address, options, waiting),
    (server) =>
      Effect.sync(() => {
        waiting.close()
        // connections that were taken belong to their own scopes; only listening ends here
        server.close()
      }),
    { interruptible: true }
  )
  const { mode } = options
  if (!isHostPort(target) && mode !== undefined) {
    yield* onFile(target.path, address, () => Fs.chmodSync(target.path, mode))
  }
  const bound = server.address()
  return {
    address: bound === null || typeof bound === "string"
      ? NetAddress.unixPathAddress(bound ?? address)
      : NetAddress.inetAddressFromNativeUnsafe(bound.address, bound.port),
    accept: waiting.accept,
    receive: waiting.receive
  } satisfies Bound
})

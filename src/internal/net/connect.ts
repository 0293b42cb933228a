import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Net from "node:net"
import { ConnectTimeout, type DialErrorReason, Refused, Unknown, Unreachable } from "../../errors/DialError.ts"
import { alarm } from "./deadline.ts"
import * as DirectReads from "./directReads.ts"
import { guardErrors } from "./owner.ts"
import * as Target from "./target.ts"

/** What the system is told about a connection that it opens. */
export interface SocketOptions {
  readonly noDelay: boolean
  readonly keepAlive: Duration.Duration | undefined
  readonly localAddress: string | undefined
  readonly localPort: number | undefined
}

export type Address = { readonly host: string; readonly port: number } | { readonly path: string }

const show = (address: Address) =>
  "path" in address
    ? Target.formatPath(address.path)
    : address.host.includes(":")
    ? `[${address.host}]:${address.port}`
    : `${address.host}:${address.port}`

const reasonOf = (cause: NodeJS.ErrnoException, address: string): DialErrorReason => {
  switch (cause.code) {
    case "ECONNREFUSED":
    case "ENOENT":
    case "ECONNRESET":
      return new Refused({ address, cause })
    case "EHOSTUNREACH":
    case "ENETUNREACH":
    case "EACCES":
    case "EPERM":
    case "EADDRINUSE":
    case "EADDRNOTAVAIL":
    case "ETIMEDOUT":
      return new Unreachable({ address, code: cause.code, cause })
    default:
      return new Unknown({ detail: cause.message, cause })
  }
}

/** Of one shape for all, as far as Node lets them be: opening a socket is mostly looking at its options. */
const socketOptions = (address: Address, options: SocketOptions): Net.NetConnectOpts => {
  const known = {
    allowHalfOpen: true,
    noDelay: options.noDelay,
    keepAlive: options.keepAlive !== undefined,
    keepAliveInitialDelay: options.keepAlive === undefined ? 0 : Duration.toMillis(options.keepAlive)
  }
  if ("path" in address) return { ...known, path: address.path }
  const { host, port } = address
  const remote = { ...known, host, port }
  if (options.localAddress !== undefined) Object.assign(remote, { localAddress: options.localAddress })
  if (options.localPort !== undefined) Object.assign(remote, { localPort: options.localPort })
  return remote
}

/**
 * Opens a connection to one address; `keep` is what becomes of it in the moment that it is there. Interrupted before that
 * is done, it is closed.
 */
export const connect = (
  address: Address,
  options: SocketOptions,
  timeout: Duration.Duration,
  keep: (socket: Net.Socket) => Effect.Effect<Net.Socket> = Effect.succeed
): Effect.Effect<Net.Socket, DialErrorReason> =>
  Effect.clockWith((clock) =>
    Effect.callback((resume) => {
      const socket = guardErrors(DirectReads.open(socketOptions(address, options)))
      const onConnect = () => {
        socket.off("error", onError)
        stopAlarm()
        resume(keep(socket))
      }
      const onError = (cause: Error) => {
        stopAlarm()
        resume(Effect.fail(reasonOf(cause, show(address))))
      }
      const stopAlarm = alarm(clock, timeout, () => {
        socket.destroy()
        resume(Effect.fail(new ConnectTimeout({ after: timeout, phase: "the connection" })))
      })
      socket.once("connect", onConnect).on("error", onError)
      return Effect.sync(() => {
        stopAlarm()
        socket.destroy()
      })
    })
  )

import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Net from "node:net"
import { type DialErrorReason, Refused, Unknown, Unreachable } from "../../errors/DialError.ts"
import * as DirectReads from "./directReads.ts"
import { guardErrors } from "./duplex.ts"

/** What the system is told about a connection that it opens. */
export interface SocketOptions {
  readonly noDelay: boolean
  readonly keepAlive: Duration.Duration | undefined
}

export type Address = { readonly host: string; readonly port: number } | { readonly path: string }

const show = (address: Address) =>
  "path" in address
    ? address.path
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
    case "EADDRNOTAVAIL":
    case "ETIMEDOUT":
      return new Unreachable({ address, code: cause.code, cause })
    default:
      return new Unknown({ detail: cause.message, cause })
  }
}

/** Opens a connection to one address; `opened` is told of the socket before it is connected. */
export const connect = (address: Address, options: SocketOptions, opened?: Set<Net.Socket>) =>
  Effect.callback<Net.Socket, DialErrorReason>((resume) => {
    const socket = guardErrors(DirectReads.open({
      ...address,
      allowHalfOpen: true,
      noDelay: options.noDelay,
      ...(options.keepAlive === undefined
        ? {}
        : { keepAlive: true, keepAliveInitialDelay: Duration.toMillis(options.keepAlive) })
    }))
    opened?.add(socket)
    const onConnect = () => {
      socket.off("error", onError)
      resume(Effect.succeed(socket))
    }
    const onError = (cause: Error) => {
      socket.off("connect", onConnect)
      resume(Effect.fail(reasonOf(cause, show(address))))
    }
    socket.once("connect", onConnect).once("error", onError)
    return Effect.sync(() => void socket.destroy())
  })

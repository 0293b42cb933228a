import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { formatHost, isHostPort } from "effect/net/Host"
import * as NetAddress from "effect/net/NetAddress"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import { ConnectTimeout, type DialErrorReason, InvalidTarget, Unreachable } from "../../errors/DialError.ts"
import { connect, type SocketOptions } from "./connect.ts"
import { close } from "./duplex.ts"
import { connectFirst } from "./happyEyeballs.ts"
import type { Resolver } from "./resolve.ts"
import * as Target from "./target.ts"

export interface DirectOptions extends SocketOptions {
  readonly attemptDelay: Duration.Duration
  readonly resolutionDelay: Duration.Duration
  readonly resolver: Resolver
}

const familyOf = (address: string): NetAddress.IpFamily | undefined => {
  const version = Net.isIP(address)
  return version === 0 ? undefined : version === 4 ? "IPv4" : "IPv6"
}

/** A name has as long as anything else, but the time is for finding its addresses too. */
const toName = (name: string, port: number, options: DirectOptions, timeout: Duration.Duration) =>
  Effect.timeoutOrElse(
    connectFirst({
      ...options,
      lookups: options.resolver(
        name,
        port,
        options.localAddress === undefined ? undefined : familyOf(options.localAddress)
      ),
      connect: (address) => connect(address, options, Duration.infinity),
      discard: (socket) => void socket.destroy()
    }),
    {
      duration: timeout,
      orElse: () => Effect.fail(new ConnectTimeout({ after: timeout, phase: "the connection" }))
    }
  )

const toTarget = (
  target: Target.Target,
  options: DirectOptions,
  timeout: Duration.Duration
): Effect.Effect<Net.Socket, DialErrorReason> => {
  if (!isHostPort(target)) return connect({ path: target.path }, options, timeout)
  const host = formatHost(target.host)
  const remote = familyOf(host)
  if (options.localAddress !== undefined) {
    const local = familyOf(options.localAddress)
    if (local === undefined) {
      return Effect.fail(new InvalidTarget({ input: options.localAddress, why: "the local address is no IP address" }))
    }
    if (remote !== undefined && remote !== local) {
      return Effect.fail(new Unreachable({ address: Target.format(target), code: "EAFNOSUPPORT" }))
    }
  }
  return remote === undefined
    ? toName(host, target.port, options, timeout)
    : connect({ host, port: target.port }, options, timeout)
}

/** Dials with the operating system's own network. */
export const dial = (
  target: Target.Target,
  options: DirectOptions,
  timeout: Duration.Duration
): Effect.Effect<Duplex, DialErrorReason, Scope.Scope> =>
  Effect.acquireRelease(toTarget(target, options, timeout), close, { interruptible: true })

import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { isHostPort } from "effect/net/Host"
import type * as NetAddress from "effect/net/NetAddress"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import { ConnectTimeout, type DialErrorReason, InvalidTarget, Unreachable } from "../../errors/DialError.ts"
import { type Address, connect, type SocketOptions } from "./connect.ts"
import { within } from "./deadline.ts"
import { closeIn } from "./duplex.ts"
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

/** What is wrong with a local address for a target whose host is an address, or a name. */
const refusal = (local: string, target: Target.Target, remote: NetAddress.IpFamily | undefined) => {
  const family = familyOf(local)
  return family === undefined
    ? new InvalidTarget({ input: local, why: "the local address is no IP address" })
    : remote !== undefined && remote !== family
    ? new Unreachable({ address: Target.format(target), code: "EAFNOSUPPORT" })
    : undefined
}

/** Dials with the operating system's own network. */
export const dial = (
  target: Target.Target,
  options: DirectOptions,
  timeout: Duration.Duration
): Effect.Effect<Duplex, DialErrorReason, Scope.Scope> => {
  if (!isHostPort(target)) return toAddress({ path: target.path }, options, timeout)
  const host = Target.hostOf(target)
  const remote = Target.familyOf(target)
  const reason = options.localAddress === undefined ? undefined : refusal(options.localAddress, target, remote)
  if (reason !== undefined) return Effect.fail(reason)
  return remote === undefined
    ? toName(host, target.port, options, timeout)
    : toAddress({ host, port: target.port }, options, timeout)
}

// it becomes the scope's in the moment that it is connected: nothing can come between, so nothing has to be masked
const toAddress = (address: Address, options: DirectOptions, timeout: Duration.Duration) =>
  Effect.flatMap(Effect.scope, (scope) => connect(address, options, timeout, (socket) => closeIn(scope, socket)))

/** A name has as long as anything else, but the time is for finding its addresses too. */
const toName = (name: string, port: number, options: DirectOptions, timeout: Duration.Duration) => {
  const local = options.localAddress === undefined ? undefined : familyOf(options.localAddress)
  const first = connectFirst({
    ...options,
    lookups: options.resolver(name, port, local),
    connect: (address) => connect(address, options, Duration.infinity),
    discard: (socket) => void socket.destroy()
  })
  const late = () => Effect.fail(new ConnectTimeout({ after: timeout, phase: "the connection" }))
  return Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      restore(within(first, timeout, late)),
      (socket) => Effect.flatMap(Effect.scope, (scope) => closeIn(scope, socket))
    )
  )
}

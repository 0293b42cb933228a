import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { formatHost, isHostPort } from "effect/net/Host"
import * as NetAddress from "effect/net/NetAddress"
import type * as Scope from "effect/Scope"
import * as Dns from "node:dns"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import {
  ConnectTimeout,
  DialError,
  type DialErrorReason,
  NameNotFound
} from "../../errors/DialError.ts"
import { type Address, connect, type SocketOptions } from "./connect.ts"
import { close } from "./duplex.ts"
import * as Target from "./target.ts"

export interface DirectOptions extends SocketOptions {
  readonly connectTimeout: Duration.Duration
  readonly attemptDelay: Duration.Duration
}

const resolve = (name: string, port: number) =>
  Effect.callback<ReadonlyArray<Address>, DialErrorReason>((resume) => {
    Dns.lookup(name, { all: true, order: "verbatim" }, (cause, found) =>
      resume(
        cause === null
          ? Effect.succeed(interleave(found).map(({ address }) => ({ host: address, port })))
          : Effect.fail(new NameNotFound({ name, code: cause.code ?? "ENOTFOUND", cause }))
      ))
  })

/** RFC 8305, section 4: alternate the families, so that a broken one costs one attempt. */
const interleave = (found: ReadonlyArray<Dns.LookupAddress>): ReadonlyArray<Dns.LookupAddress> => {
  const first = found.filter(({ family }) => family === found[0]?.family)
  const second = found.filter(({ family }) => family !== found[0]?.family)
  return first.flatMap((address, i) => second[i] === undefined ? [address] : [address, second[i]])
    .concat(second.slice(first.length))
}

/**
 * RFC 8305, section 5: each attempt starts when the one before it has failed, or after a delay while that one goes on.
 * The first connection wins; the others are closed.
 */
export const race = Effect.fnUntraced(function*(addresses: ReadonlyArray<Address>, options: DirectOptions) {
  const failures: Array<DialErrorReason> = []
  const opened = new Set<Net.Socket>()
  let winner: Net.Socket | undefined
  let previousFailed: Deferred.Deferred<void> | undefined
  const attempts = addresses.map((address, index) => {
    const before = previousFailed
    const failed = previousFailed = Deferred.makeUnsafe<void>()
    const turn = before === undefined
      ? Effect.void
      : Effect.raceFirst(Deferred.await(before), Effect.sleep(Duration.times(options.attemptDelay, index)))
    return Effect.tapError(Effect.andThen(turn, connect(address, options, opened)), (reason) => {
      failures.push(reason)
      return Deferred.succeed(failed, undefined)
    })
  })
  return yield* Effect.raceAll(attempts).pipe(
    Effect.tap((socket) => Effect.sync(() => winner = socket)),
    // of several failures the first address's says most
    Effect.mapError((reason) => failures[0] ?? reason),
    Effect.ensuring(Effect.sync(() => {
      for (const socket of opened) if (socket !== winner) socket.destroy()
    }))
  )
})

const toTarget = Effect.fnUntraced(function*(target: Target.Target, options: DirectOptions) {
  if (!isHostPort(target)) return yield* connect({ path: target.path }, options)
  const host = formatHost(target.host)
  if (NetAddress.isIpAddress(target.host) || Net.isIP(host) !== 0) {
    return yield* connect({ host, port: target.port }, options)
  }
  const addresses = yield* resolve(host, target.port)
  return yield* addresses.length === 1 ? connect(addresses[0]!, options) : race(addresses, options)
})

/** Dials with the operating system's own network. */
export const dial = (
  target: Target.Target,
  options: DirectOptions
): Effect.Effect<Duplex, DialError, Scope.Scope> =>
  Effect.acquireRelease(
    toTarget(target, options).pipe(
      Effect.timeoutOrElse({
        duration: options.connectTimeout,
        orElse: () => Effect.fail(new ConnectTimeout({ after: options.connectTimeout, phase: "the connection" }))
      }),
      Effect.mapError((reason) => new DialError({ target: Target.format(target), hop: "direct", reason }))
    ),
    close,
    { interruptible: true }
  )

/** What tests of SSH forwarding share. */
import * as Effect from "effect/Effect"
import * as NetAddress from "effect/net/NetAddress"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import type * as SshForward from "../../src/services/SshForward.ts"

export const loopback = { host: "127.0.0.1", port: 0 }

export const portOf = (address: NetAddress.SocketAddress): number =>
  NetAddress.isInetAddress(address) ? address.port : 0

/** Dials over the test's own network. */
export const dial = (target: Dialer.DialTarget) => Effect.flatMap(Dialer.Dialer, (dialer) => dialer.dial(target))

/** Dials on the machine of the server, which is this one, whatever the test's own network is. */
export const dialThere = (target: Dialer.DialTarget) => Effect.provide(dial(target), Dialer.layer)

/** Listens on the test's own network. */
export const bind = (address: Dialer.DialTarget = loopback) =>
  Effect.flatMap(Listener.Listener, (listener) => listener.bind(address))

/** The events of a forward, from now on, one at a time; and how they end. */
export const eventsOf = Effect.fnUntraced(function*(forward: SshForward.Forward) {
  const events = yield* Queue.unbounded<SshForward.ForwardEvent>()
  const ended = yield* Effect.forkScoped(
    Effect.result(Stream.runForEach(forward.events, (event) => Queue.offer(events, event))),
    { startImmediately: true }
  )
  return { next: Queue.take(events), ended }
})

import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as NetAddress from "effect/net/NetAddress"
import * as Stream from "effect/Stream"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import { describeOnNetworks } from "../support/network.ts"
import { receiveAll, rawServer } from "../support/servers.ts"
import { connected } from "../support/ssh.ts"
import { read, readAll, write } from "../support/streams.ts"

const loopback = { host: "127.0.0.1", port: 0 }

const portOf = (address: NetAddress.SocketAddress) => NetAddress.isInetAddress(address) ? address.port : 0

/** Dials on the machine of the server, whatever the test's own network is. */
const dialThere = (target: Dialer.DialTarget) =>
  Effect.flatMap(Dialer.Dialer, (dialer) => dialer.dial(target)).pipe(Effect.provide(Dialer.layer))

const dial = (target: Dialer.DialTarget) => Effect.flatMap(Dialer.Dialer, (dialer) => dialer.dial(target))

describeOnNetworks("SshSession.listener", (test) => {
  test("accepts what connects to the server, at a port that the server chose", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const { accept, address } = yield* session.listener.bind(loopback)
      assert.isAbove(portOf(address), 0)
      const client = yield* dialThere(address)
      const server = yield* accept
      yield* write(client, "ping")
      assert.strictEqual(String(yield* read(server, 4)), "ping")
      yield* write(server, "pong")
      assert.strictEqual(String(yield* read(client, 4)), "pong")
    }))
})

describeOnNetworks("SshSession.forwardLocal", (test) => {
  test("leads what connects here to a target there, with its ends", () =>
    Effect.gen(function*() {
      const target = yield* rawServer()
      const { session } = yield* connected()
      const forward = yield* session.forwardLocal(loopback, target.address)
      const client = yield* dial(forward.address)
      yield* write(client, "request")
      client.end()
      const server = yield* target.next
      assert.strictEqual(String(yield* receiveAll(server)), "request")
    }))
})

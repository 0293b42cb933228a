import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import type { DialTarget } from "../../src/internal/net/target.ts"
import * as Tls from "../../src/layers/Tls.ts"
import * as Connection from "../../src/services/Connection.ts"
import * as ConnectionLog from "../../src/services/ConnectionLog.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { describeParity } from "../support/network.ts"
import { failureOf, withoutChance } from "../support/parity.ts"
import { blackhole, temporaryFolder } from "../support/servers.ts"
import { connected } from "../support/streams.ts"

const loopback = { host: "127.0.0.1", port: 0 }

const bind = (address: DialTarget) => Listener.Listener.use((listener) => listener.bind(address))

/** How a dial fails. */
const refusal = (target: DialTarget, options?: Dialer.DialOptions) =>
  failureOf(Effect.scoped(Dialer.Dialer.use((dialer) => dialer.dial(target, options))))

const portOf = (address: NetAddress.SocketAddress) => NetAddress.isInetAddress(address) ? address.port : 0

/** A port on which nobody listens any more. */
const freePort = Effect.map(Effect.scoped(bind(loopback)), ({ address }) => portOf(address))

/** Where nobody answers: a server whose backlog is full, or a host that cannot be reached. */
const silent = Effect.flatMap(
  Effect.serviceOption(TestNetwork.TestNetwork),
  Option.match({
    onNone: () => Effect.map(blackhole, (port) => `127.0.0.1:${port}`),
    onSome: (network) => Effect.andThen(network.host("silent"), network.partition("silent")).pipe(Effect.as("silent:1"))
  })
)

describeParity("a dial", (test) => {
  for (const [host, address] of [["127.0.0.1", "127.0.0.1"], ["localhost", "127.0.0.1"], ["[::1]", "[::1]"]]) {
    test(`to ${host} is refused where nobody listens`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* refusal(`${host}:${yield* freePort}`), {
          error: "DialError: Refused",
          hop: "direct",
          address: `${address}:port`,
          cause: "ECONNREFUSED",
          message: `${host}:port: connection to ${address}:port refused; is something listening there?`
        })
      }))
  }

  test("to a socket file is refused when it is not there, and when its listener is gone", () =>
    Effect.gen(function*() {
      const path = `${yield* temporaryFolder}/server.sock`
      const refused = {
        error: "DialError: Refused",
        hop: "direct",
        address: "server.sock",
        cause: "ENOENT",
        message: "server.sock: connection to server.sock refused; is something listening there?"
      }
      assert.deepStrictEqual(yield* refusal({ path }), refused)
      yield* Effect.scoped(bind({ path }))
      assert.deepStrictEqual(yield* refusal({ path }), refused)
    }))

  test("does not find a name that nobody has", () =>
    Effect.gen(function*() {
      const { cause, code, message, ...told } = yield* refusal("nobody.invalid:80")
      assert.deepStrictEqual(told, { error: "DialError: NameNotFound", hop: "direct", name: "nobody.invalid" })
      // a machine without a resolver says "try again"
      assert.include(["ENOTFOUND", "EAI_AGAIN"], code)
      assert.strictEqual(cause, code)
      assert.strictEqual(message, `nobody.invalid:80: the name "nobody.invalid" has no address (${String(code)})`)
    }))

  for (
    const [target, why] of [
      ["nowhere", "expected host:port"],
      ["127.0.0.1:0", "port 0 cannot be dialled"],
      ["db:99999", "port must be an integer from 0 through 65535"]
    ] as const
  ) {
    test(`to "${target}" makes no sense`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* refusal(target), {
          error: "DialError: InvalidTarget",
          hop: "direct",
          input: target,
          why,
          message: `${target}: "${target}" is not usable: ${why}`
        })
      }))
  }

  test("gives up on a host that does not answer", () =>
    Effect.gen(function*() {
      const target = yield* silent
      const { message, ...told } = yield* refusal(target, { connectTimeout: "50 millis" })
      assert.deepStrictEqual(told, {
        error: "DialError: ConnectTimeout",
        hop: "direct",
        after: "50ms",
        phase: "the connection"
      })
      assert.strictEqual(message, `${withoutChance(target)}: timed out after 50ms while waiting for the connection`)
    }))

  test("gives up on a peer that accepts and says nothing, and says for what it waited", () =>
    Effect.gen(function*() {
      const { address } = yield* bind(loopback)
      const told = yield* Effect.provide(refusal(address, { connectTimeout: "50 millis" }), Tls.layer({}))
      assert.deepStrictEqual(told, {
        error: "DialError: ConnectTimeout",
        hop: "tls",
        after: "50ms",
        phase: "the answer of tls",
        message: "127.0.0.1:port via tls: timed out after 50ms while waiting for the answer of tls"
      })
    }))

  test("reaches a listener on every address from each of them", () =>
    Effect.gen(function*() {
      const { accept, address } = yield* bind({ host: "0.0.0.0", port: 0 })
      assert.match(NetAddress.formatSocketAddress(address), /^0\.0\.0\.0:\d+$/)
      for (const host of ["127.0.0.1", "localhost"]) {
        yield* Dialer.Dialer.use((dialer) => dialer.dial({ host, port: portOf(address) }))
        yield* accept
      }
    }))
})

describeParity("a listener", (test) => {
  test("has its address for itself", () =>
    Effect.gen(function*() {
      const { address } = yield* bind(loopback)
      assert.deepStrictEqual(yield* failureOf(bind(address)), {
        error: "TcpError: AddressInUse",
        address: "127.0.0.1:port",
        cause: "EADDRINUSE",
        message: "the address 127.0.0.1:port is in use"
      })
      const { error } = yield* failureOf(bind({ host: "0.0.0.0", port: portOf(address) }))
      assert.strictEqual(error, "TcpError: AddressInUse")
    }))

  test("has its socket file for itself, and another one has it afterwards", () =>
    Effect.gen(function*() {
      const path = `${yield* temporaryFolder}/server.sock`
      yield* Effect.scoped(Effect.gen(function*() {
        yield* bind({ path })
        assert.deepStrictEqual(yield* failureOf(bind({ path })), {
          error: "TcpError: AddressInUse",
          address: "server.sock",
          cause: "EADDRINUSE",
          message: "the address server.sock is in use"
        })
      }))
      yield* bind({ path })
    }))
})

describeParity("the log of connections", (test) => {
  test("tells the same of dials, connections, their ends and their failures", () =>
    Effect.gen(function*() {
      yield* Effect.scoped(Effect.gen(function*() {
        const { client, server } = yield* connected()
        const near = yield* Connection.fromDuplex(client)
        const far = yield* Connection.fromDuplex(server, { role: "accepted" })
        yield* near.write("hello\n")
        yield* far.readLine()
        yield* far.write("you too\n")
        yield* near.readLine()
      }))
      yield* refusal({ host: "127.0.0.1", port: yield* freePort })
      const events = yield* ConnectionLog.ConnectionLog.use((log) => log.events)
      assert.deepStrictEqual(
        events.map(({ detail, event, source }) => `${source} ${event}: ${withoutChance(detail)}`),
        [
          "dial dialed: direct",
          "tcp dialed: 127.0.0.1:port",
          "tcp accepted: 127.0.0.1:port",
          "tcp closed: 6 bytes read, 8 bytes written",
          "tcp closed: 8 bytes read, 6 bytes written",
          "dial failed: 127.0.0.1:port: connection to 127.0.0.1:port refused; is something listening there?"
        ]
      )
    }).pipe(Effect.provide(ConnectionLog.layer())))
})

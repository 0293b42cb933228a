import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Dgram from "node:dgram"
import * as Dns from "node:dns"
import * as Net from "node:net"
import * as Tls from "../../src/layers/Tls.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import * as TestPeers from "../../src/testing/TestPeers.ts"
import { opensNoPort } from "./noPorts.ts"
import { temporaryFolder } from "./servers.ts"
import { connected } from "./streams.ts"

const loopback = Layer.merge(Dialer.layer, Listener.layer)

/** What is said of an effect that opens something. */
const complaint = Effect.fnUntraced(function*<E, R>(effect: Effect.Effect<unknown, E, R>) {
  const exit = yield* Effect.exit(opensNoPort(effect))
  return Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : assert.fail("nothing was found")
})

describe("opensNoPort", () => {
  it.live("finds a port that is listened on", () =>
    Effect.gen(function*() {
      const listening = Listener.Listener.use((listener) => listener.bind("127.0.0.1:0"))
      assert.match(yield* complaint(Effect.provide(listening, loopback)), /TCPSERVERWRAP/)
    }))

  it.live("finds a server that is gone again", () =>
    Effect.gen(function*() {
      const brief = Effect.callback<void>((resume) => {
        const server = Net.createServer().listen(0, "127.0.0.1", () => server.close(() => resume(Effect.void)))
      })
      assert.match(yield* complaint(brief), /TCPSERVERWRAP/)
    }))

  it.live("finds a connection to a port that is there already", () =>
    Effect.gen(function*() {
      const { address } = yield* TestPeers.echo()
      const dialing = Dialer.Dialer.use((dialer) => dialer.dial(address))
      assert.match(yield* complaint(dialing), /TCPWRAP/)
    }).pipe(Effect.provide(loopback)))

  it.live("finds sockets that are files", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const said = yield* complaint(Effect.provide(connected({ path: `${folder}/socket` }), loopback))
      assert.match(said, /PIPESERVERWRAP/)
    }))

  it.live("finds datagrams and names that are looked up, and says where", () =>
    Effect.gen(function*() {
      const datagrams = Effect.callback<void>((resume) => {
        const socket = Dgram.createSocket("udp4")
        socket.close(() => resume(Effect.void))
      })
      assert.match(yield* complaint(datagrams), /UDPWRAP at .*noPorts\.test\.ts/)
      const lookup = Effect.callback<void>((resume) => Dns.lookup("localhost", () => resume(Effect.void)))
      assert.match(yield* complaint(lookup), /GETADDRINFOREQWRAP/)
    }))

  it.live("finds nothing where a network is in memory, with TLS on it", () =>
    opensNoPort(Effect.gen(function*() {
      const authority = yield* TestCertificates.authority()
      const tls = yield* authority.issue({ names: ["echo"] })
      yield* TestPeers.echo({ address: "echo:7", tls })
      const duplex = yield* Dialer.Dialer.use((dialer) => dialer.dial("echo:7")).pipe(
        Effect.provide(Tls.layer({ ca: authority.certificate }))
      )
      assert.isTrue(duplex.writable)
    })).pipe(Effect.provide(TestNetwork.layer())))

  it.live("gives what the effect gives, and its error", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* opensNoPort(Effect.succeed(1)), 1)
      assert.strictEqual(yield* Effect.flip(opensNoPort(Effect.fail("no"))), "no")
    }))
})

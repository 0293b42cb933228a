import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { TcpError } from "../../src/errors/TcpError.ts"
import type * as Connection from "../../src/services/Connection.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import { ourServer } from "./support/ourServer.ts"
import { onFreePorts, run, services, start } from "./support/peer.ts"

const iperf3 = { command: "iperf3", package: "iperf3" }

const iperf3Server = onFreePorts(1, ([port]) =>
  Effect.as(
    start(iperf3, { args: ["-s", "-B", "127.0.0.1", "-p", `${port}`], cwd: "/", ports: [port!] }),
    port!
  ))

/** What one side sends goes to the other, its end too. */
const pipe = (from: Connection.Connection, to: Connection.Connection): Effect.Effect<void, TcpError> =>
  Effect.andThen(Stream.run(from.reads, to.writes), to.closeWrite)

/** Our server, which passes each connection on to `port` by our client; gives its port. */
const relayTo = Effect.fnUntraced(function*(port: number) {
  const tcp = yield* TcpClient.TcpClient
  const address = yield* ourServer((accepted) =>
    Effect.gen(function*() {
      const dialed = yield* tcp.connect({ host: "127.0.0.1", port })
      yield* Effect.all([pipe(accepted, dialed), pipe(dialed, accepted)], { concurrency: 2, discard: true })
    }).pipe(Effect.scoped)
  )
  return address.split(":")[1]!
})

const Report = Schema.fromJsonString(Schema.Struct({
  end: Schema.Struct({
    sum_sent: Schema.Struct({ bytes: Schema.Int }),
    sum_received: Schema.Struct({ bytes: Schema.Int })
  })
}))

const peers = Layer.merge(TcpClient.layer.pipe(Layer.provide(Dialer.layer)), services)

layer(peers, { excludeTestServices: true, timeout: "60 seconds" })("iperf3", (it) => {
  const gibibyte = 1024 ** 3
  /** Milliseconds for a gibibyte, on a machine that is busy with other things. */
  const bulkTimeout = 180_000
  const measure = Effect.fnUntraced(function*(...args: ReadonlyArray<string>) {
    const port = yield* relayTo(yield* iperf3Server)
    const report = yield* run(iperf3, ["-c", "127.0.0.1", "-p", port, "-J", ...args])
    return (yield* Schema.decodeEffect(Report)(report)).end
  })

  it.effect("sends a gibibyte through our server and our client", () =>
    Effect.gen(function*() {
      const { sum_received, sum_sent } = yield* measure("-n", "1G")
      assert.isAtLeast(sum_sent.bytes, gibibyte)
      // it ends the test, on a connection of its own, while the last bytes are still on their way through us
      assert.isAtLeast(sum_received.bytes, gibibyte - 64 * 1024 ** 2)
    }), bulkTimeout)

  it.effect("receives a gibibyte through them, over four connections at once", () =>
    Effect.gen(function*() {
      const { sum_received } = yield* measure("-n", "1G", "-R", "-P", "4")
      assert.isAtLeast(sum_received.bytes, gibibyte)
    }), bulkTimeout)
})

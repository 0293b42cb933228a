import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { DialError } from "../../../src/errors/DialError.ts"
import { client, server, tlsInfo } from "../../../src/internal/tls/handshake.ts"
import { resolve, type TlsOptions } from "../../../src/internal/tls/options.ts"
import * as Dialer from "../../../src/services/Dialer.ts"
import * as Listener from "../../../src/services/Listener.ts"
import * as TestCertificates from "../../../src/testing/TestCertificates.ts"
import * as TestNetwork from "../../../src/testing/TestNetwork.ts"
import { connected } from "../../support/streams.ts"

describe("a handshake", () => {
  /** Both sides of a handshake, each with what became of it. */
  const shake = Effect.fnUntraced(
    function*(clientOptions: TlsOptions, serverOptions: TlsOptions) {
      const ends = yield* connected()
      const [mine, theirs] = [yield* resolve(clientOptions), yield* resolve(serverOptions)]
      const failure = (reason: DialError["reason"]) =>
        reason._tag === "TlsHandshake" ? reason.check : assert.fail(reason.message)
      return yield* Effect.all([
        Effect.mapError(client(ends.client, mine, "db.test"), failure).pipe(Effect.result),
        Effect.mapError(server(ends.server, theirs), failure).pipe(Effect.result)
      ], { concurrency: "unbounded" })
    },
    Effect.scoped,
    Effect.provide(TestNetwork.layer())
  )

  const options = Effect.gen(function*() {
    const { certificate: ca, issue } = yield* TestCertificates.authority()
    return { ca, issue, server: { ca, ...(yield* issue({ names: ["db.test"] })), requestClientCertificate: true } }
  })

  it.live("fails at once on either side when the other one hangs up in the middle", () =>
    Effect.gen(function*() {
      const { ca, server: serverOptions } = yield* options
      const theirs = yield* resolve(serverOptions)
      const mine = yield* resolve({ ca })
      for (const network of [TestNetwork.layer(), Layer.merge(Dialer.layer, Listener.layer)]) {
        const checks = yield* Effect.gen(function*() {
          const toServer = yield* connected()
          // the beginning of a ClientHello
          toServer.client.end(Buffer.from("1603010200010001fc0303", "hex"))
          const toClient = yield* connected()
          toClient.server.end()
          return [
            (yield* Effect.flip(server(toServer.server, theirs))).check,
            (yield* Effect.flip(client(toClient.client, mine, "db.test"))).check
          ]
        }).pipe(Effect.scoped, Effect.provide(network))
        assert.deepStrictEqual(checks, ["closed", "closed"])
      }
    }))

  it.live("shows each side the other's certificate", () =>
    Effect.gen(function*() {
      const { ca, issue, server } = yield* options
      const alice = yield* issue({ names: [], commonName: "alice", client: true })
      const ends = yield* shake({ ca, ...alice }, server)
      const subjects = ends.map((end) => end._tag === "Success" ? tlsInfo(end.success)?.peer?.subject : end.failure)
      assert.deepStrictEqual(subjects, ["CN=db.test", "CN=alice"])
    }))
  it.live("fails on the server when the client has no certificate", () =>
    Effect.gen(function*() {
      const { ca, server } = yield* options
      const [, end] = yield* shake({ ca }, server)
      assert.strictEqual(end._tag === "Failure" && end.failure, "clientCertificate")
    }))
  it.live("fails on the server when the client's certificate is not one for clients, or expired, or a stranger's", () =>
    Effect.gen(function*() {
      const { ca, issue, server } = yield* options
      const stranger = yield* TestCertificates.authority()
      for (
        const credentials of [
          yield* issue({ names: ["db.test"] }),
          yield* issue({ names: [], client: true, notAfter: new Date("2021-01-01") }),
          yield* stranger.issue({ names: [], client: true })
        ]
      ) {
        const [, end] = yield* shake({ ca, ...credentials }, server)
        assert.strictEqual(end._tag === "Failure" && end.failure, "clientCertificate")
      }
    }))
  it.live("lets any certificate pass when the server is told not to verify", () =>
    Effect.gen(function*() {
      const { ca, server } = yield* options
      const stranger = yield* (yield* TestCertificates.authority()).issue({ names: [], client: true })
      const [, end] = yield* shake({ ca, ...stranger }, { ...server, insecureSkipVerify: true })
      assert.strictEqual(end._tag, "Success")
    }))
  it.live("fails as closed on a stream that is closed already", () =>
    Effect.gen(function*() {
      const { client: duplex } = yield* connected()
      duplex.destroy()
      const reason = yield* Effect.flip(client(duplex, yield* resolve({}), "db.test"))
      assert.strictEqual(reason.check, "closed")
      assert.isTrue(reason.isRetryable)
    }).pipe(Effect.scoped, Effect.provide(TestNetwork.layer())))
})

describe("tlsInfo", () => {
  it.live("knows nothing of a stream without TLS", () =>
    Effect.gen(function*() {
      assert.isUndefined(tlsInfo((yield* connected()).client))
    }).pipe(Effect.scoped, Effect.provide(TestNetwork.layer())))
})

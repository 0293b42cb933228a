import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { formatSocketAddress } from "effect/net/NetAddress"
import * as Stream from "effect/Stream"
import type { TcpError } from "../../src/errors/TcpError.ts"
import type * as Connection from "../../src/services/Connection.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TcpServer from "../../src/services/TcpServer.ts"
import { certificates } from "./support/certificates.ts"
import { run, services } from "./support/peer.ts"

const socat = { command: "socat", package: "socat" }
const openssl = { command: "openssl", package: "openssl" }

type Handler = (connection: Connection.Connection) => Effect.Effect<void, TcpError>

const echo: Handler = (connection) => Stream.run(connection.reads, connection.writes)

const echoLine: Handler = (connection) => Effect.flatMap(connection.readLine(), (line) => connection.write(`${line}\n`))

/** Serves `handler` and runs `client` with the server's address. */
const serving = <A, E, R>(
  options: Omit<TcpServer.Options, "port">,
  handler: Handler,
  client: (address: string) => Effect.Effect<A, E, R>
) =>
  Effect.gen(function*() {
    const server = yield* TcpServer.TcpServer
    yield* Effect.forkScoped(server.serve(handler))
    return yield* client(formatSocketAddress(server.address))
  }).pipe(Effect.provide(TcpServer.layer({ port: 0, ...options }).pipe(Layer.provide(Listener.layer))))

const text = (content: string) => ({ stdin: Stream.encodeText(Stream.make(content)) })

describe("TcpServer", () => {
  it.live("gives socat back what it sent before it closed its side", () =>
    Effect.gen(function*() {
      const sent = "0123456789abcdef".repeat(65_536)
      const got = yield* serving({}, echo, (address) => run(socat, ["-t", "30", "-", `TCP:${address}`], text(sent)))
      assert.isTrue(got === sent)
    }).pipe(Effect.provide(services)))

  for (const version of ["1_2", "1_3"]) {
    it.live(`is verified by openssl in TLS ${version.replace("_", ".")}`, () =>
      Effect.gen(function*() {
        const { ca, server } = yield* certificates
        const got = yield* serving({ tls: server }, echoLine, (address) =>
          run(
            openssl,
            ["s_client", "-connect", address, "-CAfile", ca, "-verify_return_error", `-tls${version}`]
              .concat("-verify_hostname", "localhost", "-brief", "-ign_eof"),
            text("hello\n")
          ))
        assert.match(got, /Verification: OK/)
        assert.match(got, /^hello$/m)
      }).pipe(Effect.provide(services)))
  }

  it.live("demands a client certificate of openssl and takes ours", () =>
    Effect.gen(function*() {
      const { ca, client, server } = yield* certificates
      const connect = (...args: ReadonlyArray<string>) =>
        serving({ tls: { ...server, ca, requestClientCertificate: true } }, echoLine, (address) =>
          run(
            openssl,
            ["s_client", "-connect", address, "-CAfile", ca, "-brief", "-tls1_2", "-ign_eof", ...args],
            text("hello\n")
          ))
      assert.match(yield* connect("-cert", client.cert, "-key", client.key), /^hello$/m)
      const refused = yield* Effect.flip(connect())
      assert.match(String(refused), /handshake failure/)
    }).pipe(Effect.provide(services)))
})

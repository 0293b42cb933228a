import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Crypto from "node:crypto"
import type { TcpError } from "../../src/errors/TcpError.ts"
import type * as Connection from "../../src/services/Connection.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import { Certificates } from "./support/certificates.ts"
import { echo, ourServer } from "./support/ourServer.ts"
import { folder, run, services, start } from "./support/peer.ts"
import { socat, socatServer, tcp } from "./support/socat.ts"

const client = TcpClient.layer.pipe(Layer.provide(Dialer.layer))

const connect = (port: number, tls?: TcpClient.ConnectOptions["tls"]) =>
  Effect.flatMap(TcpClient.TcpClient, (tcp) => tcp.connect({ host: "127.0.0.1", port }, { tls }))

/**
 * A keystream, in which no two places are alike: what is lost, doubled or swapped changes its sum. openssl and node:crypto
 * make the same one.
 */
const key = Buffer.alloc(16, 7)
const gibibyte = 1024 ** 3

/** Milliseconds for a gibibyte, on a machine that is busy with other things. */
const bulkTimeout = 180_000

const zeroes = "0".repeat(32)
const generator = `head -c ${gibibyte} /dev/zero | openssl enc -aes-128-ctr -K ${key.toString("hex")} -iv ${zeroes}`

const keystream = (size: number): Stream.Stream<Uint8Array> =>
  Stream.unwrap(Effect.sync(() => {
    const cipher = Crypto.createCipheriv("aes-128-ctr", key, Buffer.alloc(16))
    const zeros = Buffer.alloc(256 * 1024)
    return Stream.range(1, size / zeros.length).pipe(Stream.map(() => cipher.update(zeros)))
  }))

const sha256 = Effect.fnUntraced(function*<E, R>(bytes: Stream.Stream<Uint8Array, E, R>) {
  const hash = Crypto.createHash("sha256")
  yield* Stream.runForEach(bytes, (piece) => Effect.sync(() => hash.update(piece)))
  return hash.digest("hex")
})

const sumOfGibibyte = Effect.runSync(Effect.cached(sha256(keystream(gibibyte))))

const send = (connection: Connection.Connection, size: number) =>
  Effect.andThen(Stream.run(keystream(size), connection.writes), connection.closeWrite)

/** Demands a client certificate and gives back what it gets. */
const tlsEcho = Effect.flatMap(Certificates, ({ ca, serverBoth }) =>
  socatServer(
    (port) => `OPENSSL-LISTEN:${port},bind=127.0.0.1,reuseaddr,fork,cert=${serverBoth},cafile=${ca},verify=1`,
    "EXEC:cat"
  ))

const peers = Layer.mergeAll(Certificates.layer, client, services)

layer(peers, { excludeTestServices: true, timeout: "60 seconds" })("socat", (it) => {
  it.effect("gives back what we sent before we closed our side", () =>
    Effect.gen(function*() {
      const connection = yield* connect(yield* socatServer(tcp, "EXEC:cat"))
      yield* connection.write("first\nsecond")
      yield* connection.closeWrite
      const text = yield* Stream.mkString(Stream.decodeText(connection.reads))
      assert.strictEqual(text, "first\nsecond")
    }))

  it.effect("can go on talking after it has heard our end, and we after its", () =>
    Effect.gen(function*() {
      const counting = yield* connect(yield* socatServer(tcp, "SYSTEM:wc -c; echo and more"))
      yield* counting.write("12345")
      yield* counting.closeWrite
      const lines = yield* Stream.mkString(Stream.decodeText(counting.reads))
      assert.strictEqual(lines, "5\nand more\n")
    }))

  it.effect("gets back from us what it sent before it closed its side", () =>
    Effect.gen(function*() {
      const sent = "0123456789abcdef".repeat(524_288)
      const got = yield* run(socat, ["-t", "60", "-", `TCP:${yield* ourServer(echo)}`], {
        stdin: Stream.encodeText(Stream.make(sent))
      })
      assert.isTrue(got === sent)
    }))

  it.effect("reaches us over a unix socket", () =>
    Effect.gen(function*() {
      const directory = yield* folder("socat")
      const path = yield* ourServer(
        (connection) => Effect.flatMap(connection.readLine(), (line) => connection.write(`${line} to you\n`)),
        { path: `${directory}/server.sock` }
      )
      const got = yield* run(socat, ["-t", "30", "-", `UNIX-CONNECT:${path}`], {
        stdin: Stream.encodeText(Stream.make("hello\n"))
      })
      assert.strictEqual(got, "hello to you")
    }))

  it.effect("is reached by us over a unix socket", () =>
    Effect.gen(function*() {
      const path = `${yield* folder("socat")}/echo.sock`
      yield* start(socat, { args: [`UNIX-LISTEN:${path},fork`, "EXEC:cat"], cwd: "/", ports: [] })
      const tcp = yield* TcpClient.TcpClient
      const connection = yield* Effect.retry(tcp.connect({ path }), Schedule.spaced("10 millis"))
      yield* connection.write("hello\n")
      assert.strictEqual(yield* connection.readLine(), "hello")
    }))

  it.effect("demands our client certificate, and hangs up on who has none", () =>
    Effect.gen(function*() {
      const { ca, client } = yield* Certificates
      const port = yield* tlsEcho
      const known = yield* connect(port, { ca, ...client })
      yield* known.write("hello\n")
      assert.strictEqual(yield* known.readLine(), "hello")
      assert.isTrue(Option.isSome(known.tls))
      const unknown = yield* connect(port, { ca })
      const error: TcpError = yield* Effect.flip(unknown.read())
      assert.include(error.message, "CERTIFICATE_REQUIRED")
    }))

  it.effect("gets a gibibyte of us unharmed", () =>
    Effect.gen(function*() {
      const connection = yield* connect(yield* socatServer(tcp, "EXEC:sha256sum"))
      yield* send(connection, gibibyte)
      assert.strictEqual(yield* connection.readLine(), `${yield* sumOfGibibyte}  -`)
      assert.strictEqual((yield* connection.stats).bytesWritten, gibibyte)
    }), bulkTimeout)

  it.effect("sends us a gibibyte unharmed", () =>
    Effect.gen(function*() {
      const connection = yield* connect(yield* socatServer(tcp, `SYSTEM:${generator}`))
      assert.strictEqual(yield* sha256(connection.reads), yield* sumOfGibibyte)
      assert.strictEqual((yield* connection.stats).bytesRead, gibibyte)
    }), bulkTimeout)

  it.effect("carries 128 MiB over TLS in both directions at once", () =>
    Effect.gen(function*() {
      const size = 128 * 1024 ** 2
      const { ca, client } = yield* Certificates
      const connection = yield* connect(yield* tlsEcho, { ca, ...client })
      const [, sum] = yield* Effect.all([send(connection, size), sha256(connection.reads)], { concurrency: 2 })
      assert.strictEqual(sum, yield* sha256(keystream(size)))
    }))
})

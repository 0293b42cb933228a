/** What goes over a way: each protocol in all that it can do, with as many bytes at a time as a test has patience for. */
import { assert } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Duplex } from "node:stream"
import * as Proxy from "../../src/layers/Proxy.ts"
import type * as Connection from "../../src/services/Connection.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import * as TcpServer from "../../src/services/TcpServer.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import * as TestPeers from "../../src/testing/TestPeers.ts"
import type { CaseName } from "../interop/cases.ts"
import { directions, run } from "../interop/directions.ts"
import * as Path from "../interop/path.ts"
import { pattern } from "./connections.ts"
import { dial, loopback, portOf } from "./forwarding.ts"
import type { Way } from "./stacks.ts"
import { readAll } from "./streams.ts"

// --- TCP and TLS

const serve = Effect.fnUntraced(function*(
  { target }: Way,
  options: TcpServer.Options,
  handle: (connection: Connection.Connection) => Effect.Effect<void, unknown>
) {
  const server = yield* Layer.build(TcpServer.layer({ host: target.name, drainTimeout: 0, ...options })).pipe(
    Effect.provide(target.layer)
  )
  yield* Effect.forkScoped(Context.get(server, TcpServer.TcpServer).serve(handle))
})

const connect = ({ layer, target }: Way, port: number, tls?: TcpClient.ConnectOptions["tls"]) =>
  TcpClient.TcpClient.use((tcp) => tcp.connect(`${target.name}:${port}`, { tls })).pipe(
    Effect.provide(TcpClient.layer.pipe(Layer.provide(layer)))
  )

const sendBack = ({ reads, writes }: Connection.Connection) => Stream.run(reads, writes)

/** Sends bytes, and gets them back after the end: that goes all the way there, and comes back behind the last of them. */
const roundTrip = Effect.fnUntraced(function*(connection: Connection.Connection, size: number) {
  const bytes = pattern(size)
  const reading = yield* Effect.forkChild(Stream.runCollect(connection.reads), { startImmediately: true })
  yield* connection.write(bytes)
  yield* connection.closeWrite
  assert.isTrue(Buffer.concat(yield* Fiber.join(reading)).equals(bytes))
})

/** A question, its answer, and bytes there and back. Gives the addresses of those whom the server has seen. */
export const tcp = Effect.fnUntraced(function*(way: Way, size: number) {
  const clients = new Set<string>()
  yield* serve(way, { port: 7, ...way.expects }, (connection) => {
    const client = Option.getOrUndefined(connection.remoteAddress)
    if (NetAddress.isInetAddress(client)) clients.add(NetAddress.formatIp(client.address))
    return sendBack(connection)
  })
  const connection = yield* connect(way, 7)
  yield* connection.write("ping\n")
  assert.strictEqual(yield* connection.readLine(), "ping")
  yield* way.isTravelled
  yield* roundTrip(connection, size)
  return [...clients]
})

/** TLS from the beginning, in which both sides show certificates. */
export const tls = Effect.fnUntraced(function*(way: Way, size: number) {
  const clients: Array<string | undefined> = []
  const ca = way.authority.certificate
  yield* serve(way, { port: 443, tls: { ...way.credentials, ca, requestClientCertificate: true } }, (connection) => {
    clients.push(Option.getOrUndefined(connection.tls)?.peer?.subject)
    return sendBack(connection)
  })
  const client = yield* way.authority.issue({ names: ["client.test"], client: true })
  yield* roundTrip(yield* connect(way, 443, { ca, ...client }), size)
  assert.deepStrictEqual(clients, ["CN=client.test"])
})

/** TLS from the middle of a connection, which may be in TLS already. */
export const startTls = Effect.fnUntraced(function*(way: Way, size: number) {
  const { authority, credentials, expects } = way
  yield* serve(
    way,
    { port: 25, ...expects },
    Effect.fnUntraced(function*(connection) {
      yield* connection.write("220 ready\r\n")
      assert.strictEqual(yield* connection.readLine(), "STARTTLS")
      yield* sendBack(yield* connection.upgradeTls(credentials, { reply: "220 go ahead\r\n" }))
    }, Effect.scoped)
  )
  const connection = yield* connect(way, 25)
  assert.strictEqual(yield* connection.readLine(), "220 ready")
  yield* connection.write("STARTTLS\r\n")
  assert.strictEqual(yield* connection.readLine(), "220 go ahead")
  const secure = yield* connection.upgradeTls({ ca: authority.certificate })
  yield* way.isTravelled
  yield* roundTrip(secure, size)
})

// --- SSH

const roundTripOf = Effect.fnUntraced(function*(stream: Duplex, size: number) {
  const bytes = pattern(size)
  stream.end(bytes)
  const { bytes: received, ending } = yield* readAll(stream)
  assert.deepStrictEqual([ending, received.equals(bytes)], ["end", true])
})

/** A host of its own, which only the two ends of a session get to. */
const echo = Effect.gen(function*() {
  const host = yield* TestNetwork.TestNetwork.use((network) => network.host("echo.test"))
  yield* Effect.provide(TestPeers.echo({ address: "echo.test:7" }), host.layer)
  return "echo.test:7"
})

/** Commands, files, and forwarding in every direction. */
export const ssh = Effect.fnUntraced(function*({ expects, isTravelled, layer, target }: Way, size: number) {
  const server = yield* TestPeers.sshServer({
    address: `${target.name}:22`,
    tls: expects.tls,
    exec: {
      cat: ({ stdin, stdout }) => Stream.runForEach(stdin, stdout),
      fail: { stderr: "no\n", code: 3 }
    },
    sftp: { "/etc/motd": "welcome\n" },
    forwarding: true
  }).pipe(Effect.provide(target.layer))
  const session = yield* Ssh.Ssh.use((ssh) => ssh.connect({ ...server.settings, host: target.name, port: 22 })).pipe(
    Effect.provide(Ssh.layer.pipe(Layer.provide(layer)))
  )
  yield* isTravelled

  const bytes = pattern(size)
  assert.isTrue(bytes.equals((yield* session.execute("cat", { stdin: bytes })).stdout))
  const failed = yield* session.execute("fail")
  assert.deepStrictEqual([String(Buffer.from(failed.stderr)), failed.exitCode], ["no\n", Option.some(3)])

  const sftp = yield* session.sftp
  assert.strictEqual(yield* sftp.readText("/etc/motd"), "welcome\n")
  yield* sftp.writeFile("/bytes", bytes)
  assert.isTrue(bytes.equals(yield* server.files.read("/bytes")))
  assert.isTrue(bytes.equals(yield* sftp.readFile("/bytes")))

  const there = yield* echo
  yield* roundTripOf(yield* dial((yield* session.forwardLocal(loopback, there)).address), size)
  yield* roundTripOf(yield* target.dialer.dial((yield* session.forwardRemote(loopback, there)).address), size)
  const { address } = yield* session.forwardDynamic(loopback)
  const proxy = Proxy.layer({ protocol: "socks5", host: "127.0.0.1", port: portOf(address) })
  yield* Dialer.Dialer.use((dialer) => Effect.flatMap(dialer.dial(there), (stream) => roundTripOf(stream, size))).pipe(
    Effect.provide(proxy)
  )
})

// --- gRPC

/** A call of each kind, with messages as gRPC's interop tests have them. */
export const eachKind: ReadonlyArray<CaseName> = ["large_unary", "server_streaming", "client_streaming", "ping_pong"]

/** Calls with next to nothing in them. */
export const smallCalls: ReadonlyArray<CaseName> = ["empty_unary", "empty_stream", "special_status_message"]

/** Calls, in TLS of gRPC's own or without. */
export const grpc = ({ authority, credentials, layer, target }: Way, isSecure: boolean, calls = eachKind) =>
  Effect.forEach(calls, (name) => Effect.scoped(run(name, directions["hawser to hawser"])), { discard: true }).pipe(
    Effect.provide(Path.layer(
      Layer.merge(target.layer, layer),
      Effect.succeed({
        bind: { host: target.name, port: 50051 },
        certificates: isSecure ? { ca: authority.certificate, server: credentials } : undefined
      })
    ))
  )

/** What the gRPC module of the system that this library replaces does, row by row, and what it lacks. */
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Http from "node:http"
import { exchangeInOrder, type Step } from "../../examples/recipes/grpcScript.ts"
import * as Proxy from "../../src/layers/Proxy.ts"
import * as SshTunnel from "../../src/layers/SshTunnel.ts"
import * as ConnectionLog from "../../src/services/ConnectionLog.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Grpc from "../../src/services/Grpc.ts"
import * as GrpcSchema from "../../src/services/GrpcSchema.ts"
import type * as Listener from "../../src/services/Listener.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import { protos } from "../interop/grpcJs.ts"
import * as GrpcJsServer from "../interop/grpcJsServer.ts"
import * as HawserServer from "../interop/hawserServer.ts"
import * as Path from "../interop/path.ts"
import { echoInitial, echoTrailing, sizeOf } from "../interop/server.ts"
import { leavesNothing } from "../support/leaks.ts"
import { httpProxy, socksProxy } from "../support/loopbackProxies.ts"
import { networks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { temporaryFolder } from "../support/servers.ts"
import { sshServer } from "../support/ssh.ts"
import { listening } from "../support/tls.ts"

type Services = Dialer.Dialer | Listener.Listener | Scope.Scope | FileSystem.FileSystem

const row = (title: string, body: () => Effect.Effect<unknown, unknown, Services>) =>
  it.live(title, () =>
    leavesNothing(
      Effect.scoped(body()).pipe(Effect.provide(Layer.merge(networks["on loopback"](), NodeFileSystem.layer)))
    ))

const schema = GrpcSchema.fromFile(`${protos}/grpc/testing/test.proto`, { includeDirs: [protos] })

/** A server of grpc-js, and its URL. */
const server = Effect.fnUntraced(function*(options: Path.PathOptions = {}) {
  const path = yield* Path.make(options)
  const { address, seen } = yield* GrpcJsServer.serve(path)
  return { url: Path.urlOf(path, address), seen, wire: path.wire }
})

const connect = (options: Grpc.ConnectOptions) =>
  Grpc.Grpc.use((grpc) => grpc.connect(options)).pipe(Effect.provide(Grpc.layer))

/** A channel to a server of its own. */
const connected = Effect.flatMap(server(), ({ url }) => connect({ url, schema }))

const method = (name: string) => `grpc.testing.TestService/${name}`

const zeros = (size: number) => ({ body: new Uint8Array(size) })

/** A request for messages of these sizes. */
const sized = (...sizes: ReadonlyArray<number>) => ({ responseParameters: sizes.map((size) => ({ size })) })

const piece = (size: number) => ({ payload: zeros(size) })

describe("gRPC of openintegrations", () => {
  row(
    "GetConnectionParameters(address, protos, metadata): definitions as texts, files and URLs, in any order, that import each other",
    () =>
      Effect.gen(function*() {
        const read = (name: string) =>
          FileSystem.FileSystem.use((fs) => fs.readFileString(`${protos}/grpc/testing/${name}.proto`))
        const messages = yield* read("messages")
        const { port } = yield* listening(Http.createServer((_, response) => response.end(messages)))
        const sources = GrpcSchema.fromSources({
          "grpc/testing/test.proto": yield* read("test"),
          "grpc/testing/messages.proto": { url: `http://127.0.0.1:${port}/messages.proto` },
          "grpc/testing/empty.proto": { file: `${protos}/grpc/testing/empty.proto` }
        })
        const { url } = yield* server()
        const channel = yield* connect({ url, schema: sources, metadata: { [echoInitial]: "said by all calls" } })
        const { headers } = yield* channel.exchange(method("EmptyCall"), {})
        assert.deepStrictEqual(headers.text[echoInitial], ["said by all calls"])
        const single = yield* GrpcSchema.fromSource(yield* read("empty"))
        assert.deepStrictEqual(single.services, [])
      })
  )

  row(
    "CreateConnection(parameters), CloseConnection(connection): the end of the scope, which nobody can forget",
    () =>
      Effect.gen(function*() {
        const { seen, url } = yield* server()
        const channel = yield* Effect.scoped(Effect.tap(
          connect({ url, schema }),
          (channel) => channel.unary(method("EmptyCall"), {})
        ))
        assert.strictEqual(seen.started, 1)
        assert.strictEqual((yield* Effect.flip(channel.unary(method("EmptyCall"), {})))._tag, "GrpcError")
      })
  )

  row(
    "GetTlsSettings(disableVerification, CA): certificates are verified, with an authority of one's own if need be",
    () =>
      Effect.gen(function*() {
        const { certificate, issue } = yield* TestCertificates.authority()
        const certificates = { ca: certificate, server: yield* issue({ names: ["127.0.0.1"] }) }
        const { url } = yield* server({ certificates })
        const error = yield* Effect.flip(Effect.scoped(connect({ url, schema })))
        assert(error._tag === "DialError")
        assert.strictEqual(error.reason._tag, "TlsHandshake")
        for (const tls of [{ ca: certificate }, { insecureSkipVerify: true }]) {
          const channel = yield* connect({ url, schema, tls })
          yield* channel.unary(method("EmptyCall"), {})
        }
      })
  )

  row(
    "SetMetadata(connection, metadata): replaces what calls carry; one call can carry more",
    () =>
      Effect.gen(function*() {
        const { url } = yield* server()
        const channel = yield* connect({ url, schema, metadata: { [echoInitial]: "at first" } })
        const echoed = Effect.map(channel.exchange(method("EmptyCall"), {}), ({ headers }) => headers.text[echoInitial])
        assert.deepStrictEqual(yield* echoed, ["at first"])
        yield* channel.setMetadata({ [echoInitial]: Redacted.make("later") })
        assert.deepStrictEqual(yield* echoed, ["later"])
        const more = { [echoTrailing]: Uint8Array.of(1) }
        const { headers, trailers } = yield* channel.exchange(method("EmptyCall"), {}, { metadata: more })
        assert.deepStrictEqual(headers.text[echoInitial], ["later"])
        assert.deepStrictEqual(trailers.binary[echoTrailing], [Uint8Array.of(1)])
      })
  )

  row(
    "ExecuteMethod(connection, service, method, request, timeout): a call by name, for so long",
    () =>
      Effect.gen(function*() {
        const channel = yield* connected
        const response = yield* channel.unary(method("UnaryCall"), { responseSize: 42 }, { timeout: "30 seconds" })
        assert.strictEqual(sizeOf(response), 42)
        const waiting = Stream.runDrain(channel.bidi(method("FullDuplexCall"), Stream.never, { timeout: "5 millis" }))
        assert.strictEqual((yield* reasonOf(waiting))["_tag"], "DeadlineExceeded")
      })
  )

  row(
    "GetServiceList, GetMethodList, GetMethod: what there is, from definitions or from the server itself",
    () =>
      Effect.gen(function*() {
        const path = yield* Path.make({})
        const { address } = yield* HawserServer.serve(path)
        for (const source of [schema, GrpcSchema.fromReflection()]) {
          const channel = yield* connect({ url: Path.urlOf(path, address), schema: source })
          assert.include(channel.services.map(({ name }) => name), "grpc.testing.TestService")
          assert.deepStrictEqual(
            channel.methods("grpc.testing.TestService").map(({ kind, name }) => [name, kind]),
            [
              ["EmptyCall", "unary"],
              ["UnaryCall", "unary"],
              ["StreamingOutputCall", "serverStream"],
              ["StreamingInputCall", "clientStream"],
              ["FullDuplexCall", "bidi"],
              ["UnimplementedCall", "unary"]
            ]
          )
          const { request, response } = yield* channel.describe(method("StreamingInputCall"))
          assert.deepStrictEqual(
            request.fields.map(({ name, number, presence, type }) => [name, number, type, presence]),
            [
              ["payload", 1, "grpc.testing.Payload", true],
              ["expect_compressed", 2, "grpc.testing.BoolValue", true]
            ]
          )
          assert.deepStrictEqual(
            response.fields.map(({ name, number, presence, type }) => [name, number, type, presence]),
            [["aggregated_payload_size", 1, "int32", false]]
          )
        }
      })
  )

  row(
    "InitializeServerStream / ClientStream / BidirectionalStream, SendMessage, GetMessage, CompleteSend, CloseStream: calls by hand",
    () =>
      Effect.gen(function*() {
        const channel = yield* connected

        const down = yield* channel.open(method("StreamingOutputCall"))
        yield* down.send(sized(1, 2))
        yield* down.completeSend
        assert.deepStrictEqual(Option.map(yield* down.receive, sizeOf), Option.some(1))
        assert.deepStrictEqual(Option.map(yield* down.receive, sizeOf), Option.some(2))
        assert.isTrue(Option.isNone(yield* down.receive))

        const up = yield* channel.open(method("StreamingInputCall"))
        yield* up.send(piece(3))
        yield* up.send(piece(4))
        yield* up.completeSend
        const sum = Option.getOrThrow(yield* up.receive)
        assert.strictEqual(sum["aggregatedPayloadSize"], 7)

        const both = yield* channel.open(method("FullDuplexCall"))
        yield* both.send(sized(5))
        assert.deepStrictEqual(Option.map(yield* both.receive, sizeOf), Option.some(5))
        yield* both.close
        assert.strictEqual((yield* reasonOf(both.receive))["_tag"], "Cancelled")
      })
  )

  row("ProcessServerStream(connection, ..., maxMessages): so many, or all", () =>
    Effect.gen(function*() {
      const channel = yield* connected
      const messages = channel.serverStream(method("StreamingOutputCall"), sized(1, 2, 3, 4))
      const sizes = (stream: typeof messages) => Effect.map(Stream.runCollect(stream), (all) => all.map(sizeOf))
      assert.deepStrictEqual(yield* sizes(messages), [1, 2, 3, 4])
      assert.deepStrictEqual(yield* sizes(Stream.take(messages, 2)), [1, 2])
    }))

  row("ProcessClientStream(connection, ..., requests): sends all, and gets the answer", () =>
    Effect.gen(function*() {
      const channel = yield* connected
      const requests = Stream.fromIterable([1, 2, 3].map(piece))
      const response = yield* channel.clientStream(method("StreamingInputCall"), requests)
      assert.strictEqual(response["aggregatedPayloadSize"], 6)
    }))

  row(
    "ProcessBidirectionalStream(connection, ..., order of sends and receives, continueReceiving): a recipe over the handle",
    () =>
      Effect.gen(function*() {
        const channel = yield* connected
        const order: ReadonlyArray<Step> = [{ send: sized(1) }, "receive", { send: sized(2, 3) }, "receive"]
        for (const continueReceiving of [true, false]) {
          const call = yield* channel.open(method("FullDuplexCall"))
          const received = yield* exchangeInOrder(call, order, { continueReceiving })
          assert.deepStrictEqual(received.map(sizeOf), continueReceiving ? [1, 2, 3] : [1, 2])
        }
      })
  )

  row(
    "GetLoggingSettings(memory, maxEvents, file), GetLog(asString, count): what happened, without a secret",
    () =>
      Effect.gen(function*() {
        const file = `${yield* temporaryFolder}/log`
        const { url } = yield* server()
        const metadata = { authorization: Redacted.make("Bearer our-secret") }
        const text = yield* Effect.gen(function*() {
          const log = yield* ConnectionLog.ConnectionLog
          yield* Effect.scoped(Effect.gen(function*() {
            const channel = yield* connect({ url, schema, metadata })
            yield* channel.unary(method("EmptyCall"), {})
            yield* Effect.flip(channel.unary(method("UnimplementedCall"), {}))
          }))
          const events = (yield* log.events).filter(({ source }) => source === "grpc")
          assert.includeMembers(events.map(({ event }) => event), ["connected", "called", "ended", "disconnected"])
          assert.isTrue(events.some(({ detail }) => detail.includes(method("UnimplementedCall"))))
          assert.strictEqual((yield* log.asString(1)).split("\n").length, 1)
          return yield* log.asString()
        }).pipe(Effect.provide(ConnectionLog.layerFile({ file })))
        assert.strictEqual((yield* FileSystem.FileSystem.use((fs) => fs.readFileString(file))).trimEnd(), text)
        assert.notInclude(text, "our-secret")
      })
  )

  row("bytes given as data or as a file path: bytes, wherever they are from", () =>
    Effect.gen(function*() {
      const file = `${yield* temporaryFolder}/bytes`
      const fs = yield* FileSystem.FileSystem
      yield* fs.writeFile(file, new Uint8Array(1000))
      const channel = yield* connected
      const body = yield* fs.readFile(file)
      const request = { payload: { body } }
      const response = yield* channel.clientStream(method("StreamingInputCall"), Stream.make(request))
      assert.strictEqual(response["aggregatedPayloadSize"], 1000)
      // a large file goes as it is read
      const pieces = Stream.map(fs.stream(file, { chunkSize: 100 }), (body) => ({ payload: { body } }))
      const same = yield* channel.clientStream(method("StreamingInputCall"), pieces)
      assert.strictEqual(same["aggregatedPayloadSize"], 1000)
    }))

  row("SOCKS and HTTP proxies and SSH tunnels lead to gRPC servers as to all others", () =>
    Effect.gen(function*() {
      const { url } = yield* server()
      const socks = yield* socksProxy()
      const http = yield* httpProxy()
      const { settings } = yield* sshServer()
      const ways = [
        Proxy.layer(`socks5://127.0.0.1:${socks.port}`),
        Proxy.layer(`http://127.0.0.1:${http.port}`),
        SshTunnel.layer(settings)
      ]
      for (const way of ways) {
        const Live = Grpc.layer.pipe(Layer.provide(way), Layer.provide(Dialer.layer))
        yield* Effect.gen(function*() {
          const grpc = yield* Grpc.Grpc
          const channel = yield* grpc.connect({ url, schema })
          yield* channel.unary(method("EmptyCall"), {})
        }).pipe(Effect.scoped, Effect.provide(Live))
      }
      assert.deepStrictEqual([socks.seen, http.seen].map(({ length }) => length), [1, 1])
    }))
})

import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Proxy from "../../src/layers/Proxy.ts"
import * as SshTunnel from "../../src/layers/SshTunnel.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Grpc from "../../src/services/Grpc.ts"
import type { GrpcChannel } from "../../src/services/GrpcChannel.ts"
import * as GrpcSchema from "../../src/services/GrpcSchema.ts"
import { Danted } from "./support/danted.ts"
import { Etcd } from "./support/etcd.ts"
import { OpenSsh, sshSettings } from "./support/openssh.ts"
import { Squid } from "./support/squid.ts"

const schema = Effect.flatMap(Etcd, ({ proto, protos }) => GrpcSchema.fromFile(proto, { includeDirs: [protos] }))

/** Runs `use` with a channel to etcd over a network. */
const over = <A, E, R, E1, R1>(
  network: Layer.Layer<Dialer.Dialer, E1, R1>,
  use: (channel: GrpcChannel) => Effect.Effect<A, E, R>
) =>
  Effect.gen(function*() {
    const { host, port } = yield* Etcd
    const grpc = yield* Grpc.Grpc
    return yield* use(yield* grpc.connect({ url: `http://${host}:${port}`, schema: yield* schema }))
  }).pipe(Effect.provide(Grpc.layer.pipe(Layer.provide(network))), Effect.scoped)

const direct = <A, E, R>(use: (channel: GrpcChannel) => Effect.Effect<A, E, R>) => over(Dialer.layer, use)

const bytes = (text: string) => new TextEncoder().encode(text)

const Range = Schema.Struct({
  kvs: Schema.Array(Schema.Struct({ key: Schema.Uint8Array, value: Schema.Uint8Array })),
  count: Schema.BigInt,
  more: Schema.Boolean
})

const Part = Schema.Struct({ blob: Schema.Uint8Array, remainingBytes: Schema.BigInt })

const range = (channel: GrpcChannel, request: object) =>
  Effect.flatMap(channel.unary("etcdserverpb.KV/Range", request), Schema.decodeUnknownEffect(Range))

/** Puts a value, and finds it. */
const keeps = Effect.fnUntraced(function*(channel: GrpcChannel, key: string, value: string) {
  yield* channel.unary("etcdserverpb.KV/Put", { key: bytes(key), value: bytes(value) })
  const { count, kvs } = yield* range(channel, { key: bytes(key) })
  assert.strictEqual(count, 1n)
  assert.deepStrictEqual(kvs[0]!.key, bytes(key))
  assert.isTrue(Buffer.compare(kvs[0]!.value, bytes(value)) === 0)
})

const peers = Layer.mergeAll(Danted.layer, Etcd.layer, OpenSsh.layer, Squid.layer)

layer(peers, { excludeTestServices: true, timeout: "60 seconds" })("etcd", (it) => {
  it.effect("is described by its definitions", () =>
    Effect.gen(function*() {
      const { services } = yield* schema
      assert.deepStrictEqual(
        services.map(({ methods, name }) => [name, methods.map(({ kind, name }) => `${name}: ${kind}`)]),
        [
          ["etcdserverpb.KV", ["Range: unary", "Put: unary", "DeleteRange: unary"]],
          ["etcdserverpb.Watch", ["Watch: bidi"]],
          ["etcdserverpb.Maintenance", ["Snapshot: serverStream"]]
        ]
      )
    }))

  it.effect("keeps values and gives back ranges of them, as asked", () =>
    direct(Effect.fnUntraced(function*(channel) {
      for (const name of ["b", "a", "c"]) yield* keeps(channel, `range/${name}`, `value of ${name} ✓`)
      const found = yield* range(channel, {
        key: bytes("range/"),
        range_end: bytes("range0"),
        sort_order: "DESCEND",
        sort_target: "KEY",
        limit: 2,
        keysOnly: true
      })
      assert.deepInclude(found, { count: 3n, more: true })
      assert.deepStrictEqual(found.kvs.map(({ key }) => new TextDecoder().decode(key)), ["range/c", "range/b"])
      assert.deepStrictEqual(found.kvs.map(({ value }) => value.length), [0, 0])
    })))

  it.effect("gives the value before, and nothing where there was none", () =>
    direct(Effect.fnUntraced(function*(channel) {
      const put = (value: string) =>
        channel.unary("etcdserverpb.KV/Put", { key: bytes("before"), value: bytes(value), prev_kv: true })
      assert.notProperty(yield* put("first"), "prevKv")
      assert.deepInclude((yield* put("second"))["prevKv"], { value: bytes("first"), version: 1n })
      const deleted = yield* channel.unary("etcdserverpb.KV/DeleteRange", { key: bytes("before") })
      assert.strictEqual(deleted["deleted"], 1n)
    })))

  it.effect("says with a status what is wrong with a request", () =>
    direct(Effect.fnUntraced(function*(channel) {
      const reason = yield* channel.unary("etcdserverpb.KV/Put", { value: bytes("no key") }).pipe(
        Effect.asVoid,
        Effect.catchReason("GrpcError", "InvalidArgument", (reason) => Effect.succeed(reason))
      )
      assert.deepInclude(reason, { code: 3, message: "etcdserver: key is not provided" })
      const error = yield* Effect.flip(
        channel.unary("etcdserverpb.KV/Range", { key: bytes("future"), revision: 1_000_000_000 })
      )
      assert.strictEqual(error._tag, "GrpcError")
      assert.strictEqual(error._tag === "GrpcError" ? error.reason._tag : "", "OutOfRange")
      // it takes 1.5 MiB in one request
      const large = { key: bytes("large"), value: new Uint8Array(1_700_000) }
      assert.match((yield* Effect.flip(channel.unary("etcdserverpb.KV/Put", large))).message, /too large/)
    })))

  it.effect("is not asked what its definitions do not allow", () =>
    direct(Effect.fnUntraced(function*(channel) {
      const error = yield* Effect.flip(channel.unary("etcdserverpb.KV/Put", { key: bytes("k"), valeu: bytes("v") }))
      assert.strictEqual(error._tag, "GrpcSchemaError")
      assert.include(error.message, "valeu")
    })))

  it.effect("streams a snapshot of all it has", () =>
    direct(Effect.fnUntraced(function*(channel) {
      const value = "0123456789abcdef".repeat(65_536)
      for (let i = 0; i < 4; i++) yield* keeps(channel, `snapshot/${i}`, value)
      const parts = yield* channel.serverStream("etcdserverpb.Maintenance/Snapshot", {}).pipe(
        Stream.mapEffect((part) => Schema.decodeUnknownEffect(Part)(part)),
        Stream.runCollect
      )
      const size = parts.reduce((sum, { blob }) => sum + blob.length, 0)
      assert.isAbove(size, 4 * value.length)
      assert.strictEqual(parts.at(-1)!.remainingBytes, 0n)
    })))

  it.effect("is reached through HTTP and SOCKS proxies and through an SSH server", () =>
    Effect.gen(function*() {
      const danted = yield* Danted
      const squid = yield* Squid
      const http = Proxy.layer({
        protocol: "http",
        host: squid.host,
        port: squid.port,
        username: squid.username,
        password: Redacted.make(squid.password)
      })
      const socks = Proxy.layer({
        protocol: "socks5",
        host: danted.host,
        port: danted.authPort,
        username: danted.username,
        password: Redacted.make(danted.password)
      })
      const ssh = SshTunnel.layer(yield* sshSettings())
      const large = "0123456789abcdef".repeat(65_536)
      for (const [name, hop] of Object.entries({ http, socks, ssh })) {
        yield* over(hop.pipe(Layer.provide(Dialer.layer)), (channel) => keeps(channel, name, large))
      }
      const all = ssh.pipe(Layer.provide(http), Layer.provide(socks), Layer.provide(Dialer.layer))
      yield* over(all, (channel) => keeps(channel, "all three", large))
    }))

  it.effect("says which hop it was that could not be passed", () =>
    Effect.gen(function*() {
      const squid = yield* Squid
      const proxy = Proxy.layer(`http://127.0.0.1:${squid.port}`).pipe(Layer.provide(Dialer.layer))
      const error = yield* Effect.flip(over(proxy, (channel) => keeps(channel, "never", "never")))
      assert.strictEqual(error._tag, "DialError")
      if (error._tag === "DialError") {
        assert.strictEqual(error.reason._tag, "ProxyAuthentication")
        assert.strictEqual(error.hop, `http://127.0.0.1:${squid.port}`)
      }
    }))

  it.effect("speaks mutual TLS, directly and through an SSH server", () =>
    Effect.gen(function*() {
      const { certificates: { ca, client }, host, tlsPort } = yield* Etcd
      const ssh = SshTunnel.layer(yield* sshSettings()).pipe(Layer.provide(Dialer.layer))
      for (const network of [Dialer.layer, ssh]) {
        yield* Effect.gen(function*() {
          const grpc = yield* Grpc.Grpc
          const url = `https://${host}:${tlsPort}`
          const channel = yield* grpc.connect({ url, schema: yield* schema, tls: { ca, ...client } })
          yield* keeps(channel, "secret", "value")
        }).pipe(Effect.provide(Grpc.layer.pipe(Layer.provide(network))), Effect.scoped)
      }
    }))

  it.effect("is not trusted with a certificate of another authority", () =>
    Effect.gen(function*() {
      const { certificates: { client, otherCa }, host, tlsPort } = yield* Etcd
      const grpc = yield* Grpc.Grpc
      const tls = { ca: otherCa, ...client }
      const check = yield* grpc.connect({ url: `https://${host}:${tlsPort}`, schema: yield* schema, tls }).pipe(
        Effect.asVoid,
        Effect.catchReason("DialError", "TlsHandshake", (reason) => Effect.succeed(reason.check))
      )
      assert.strictEqual(check, "issuer")
    }).pipe(Effect.provide(Grpc.layer.pipe(Layer.provide(Dialer.layer)))))
})

import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as GrpcError from "../../src/errors/GrpcError.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Grpc from "../../src/services/Grpc.ts"
import { bytes, connectToEtcd, Etcd, etcdSchema, text } from "./support/etcd.ts"
import { keeps, leases, put, range, remove, snapshots, status, under, watches } from "./support/etcdCases.ts"

const peers = Layer.merge(Etcd.layer, Grpc.layer.pipe(Layer.provide(Dialer.layer)))

const large = "0123456789abcdef".repeat(65_536)

layer(peers, { excludeTestServices: true, timeout: "60 seconds" })("etcd", (it) => {
  it.effect("is described by its definitions", () =>
    Effect.gen(function*() {
      const { services } = yield* etcdSchema
      assert.deepStrictEqual(
        services.map(({ methods, name }) => [name, methods.map(({ kind, name }) => `${name}: ${kind}`)]),
        [
          ["etcdserverpb.KV", ["Range: unary", "Put: unary", "DeleteRange: unary"]],
          ["etcdserverpb.Watch", ["Watch: bidi"]],
          [
            "etcdserverpb.Lease",
            ["LeaseGrant: unary", "LeaseRevoke: unary", "LeaseKeepAlive: bidi", "LeaseTimeToLive: unary"]
          ],
          ["etcdserverpb.Maintenance", ["Status: unary", "Snapshot: serverStream"]]
        ]
      )
    }))

  it.effect("keeps values and gives back ranges of them, as asked", () =>
    Effect.gen(function*() {
      const channel = yield* connectToEtcd()
      for (const name of ["b", "a", "c"]) yield* keeps(channel, `range/${name}`, `value of ${name} ✓`)
      const found = yield* range(channel, {
        ...under("range/"),
        sort_order: "DESCEND",
        sort_target: "KEY",
        limit: 2,
        keysOnly: true
      })
      assert.deepInclude(found, { count: 3n, more: true })
      assert.deepStrictEqual(found.kvs.map(({ key }) => text(key)), ["range/c", "range/b"])
      assert.deepStrictEqual(found.kvs.map(({ value }) => value.length), [0, 0])
    }))

  it.effect("gives the value before, and nothing where there was none", () =>
    Effect.gen(function*() {
      const channel = yield* connectToEtcd()
      assert.notProperty(yield* put(channel, "before", "first", { prev_kv: true }), "prevKv")
      const second = yield* put(channel, "before", "second", { prev_kv: true })
      assert.deepInclude(second["prevKv"], { value: bytes("first"), version: 1n })
      assert.strictEqual((yield* remove(channel, "before"))["deleted"], 1n)
    }))

  it.effect("tells of itself", () =>
    Effect.gen(function*() {
      const values = yield* Effect.flatMap(connectToEtcd(), status)
      assert.match(String(values["version"]), /^3\./)
      assert.isAbove(Number(values["dbSize"]), 0)
      assert.deepInclude(values, { errors: [], isLearner: false })
      // of one member, it leads itself
      assert.deepInclude(values["header"], { memberId: values["leader"] })
    }))

  it.effect("says with a status what is wrong with a request", () =>
    Effect.gen(function*() {
      const channel = yield* connectToEtcd()
      const reason = yield* channel.unary("etcdserverpb.KV/Put", { value: bytes("no key") }).pipe(
        Effect.asVoid,
        Effect.catchReason("GrpcError", "InvalidArgument", (reason) => Effect.succeed(reason))
      )
      assert.deepInclude(reason, { code: 3, message: "etcdserver: key is not provided" })
      const error = yield* Effect.flip(range(channel, { key: bytes("future"), revision: 1_000_000_000 }))
      assert.instanceOf(error, GrpcError.GrpcError)
      assert.strictEqual(error.reason._tag, "OutOfRange")
      // it takes 1.5 MiB in one request
      const tooLarge = { key: bytes("large"), value: new Uint8Array(1_700_000) }
      assert.match((yield* Effect.flip(channel.unary("etcdserverpb.KV/Put", tooLarge))).message, /too large/)
    }))

  it.effect("is not asked what its definitions do not allow", () =>
    Effect.gen(function*() {
      const channel = yield* connectToEtcd()
      const error = yield* Effect.flip(channel.unary("etcdserverpb.KV/Put", { key: bytes("k"), valeu: bytes("v") }))
      assert.strictEqual(error._tag, "GrpcSchemaError")
      assert.include(error.message, "valeu")
    }))

  it.effect("tells of what is put and deleted while it is watched", () =>
    Effect.flatMap(connectToEtcd(), (channel) => watches(channel, "watched/")))

  it.effect("keeps leases for as long as somebody keeps them alive", () =>
    Effect.flatMap(connectToEtcd(), (channel) => leases(channel, "leased")))

  it.effect("streams a snapshot of all it has", () =>
    Effect.gen(function*() {
      const channel = yield* connectToEtcd()
      for (let i = 0; i < 4; i++) yield* keeps(channel, `snapshot/${i}`, large)
      assert.isAbove(yield* snapshots(channel), 4 * large.length)
    }))

  it.effect("is not trusted with a certificate of another authority", () =>
    Effect.gen(function*() {
      const { certificates: { client, otherCa }, host, tlsPort } = yield* Etcd
      const grpc = yield* Grpc.Grpc
      const tls = { ca: otherCa, ...client }
      const check = yield* grpc.connect({ url: `https://${host}:${tlsPort}`, schema: etcdSchema, tls }).pipe(
        Effect.asVoid,
        Effect.catchReason("DialError", "TlsHandshake", (reason) => Effect.succeed(reason.check))
      )
      assert.strictEqual(check, "issuer")
    }))
})

import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Proxy from "../../src/layers/Proxy.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Grpc from "../../src/services/Grpc.ts"
import { connectToEtcd, Etcd } from "./support/etcd.ts"
import { keeps, leases, snapshots, watches } from "./support/etcdCases.ts"
import { Squid } from "./support/squid.ts"
import { peers, ways } from "./support/ways.ts"

const large = "0123456789abcdef".repeat(65_536)

layer(Layer.merge(peers, Etcd.layer), { excludeTestServices: true, timeout: "60 seconds" })("etcd", (it) => {
  for (const [name, way] of Object.entries(ways)) {
    for (const security of ["plain", "mutual TLS"] as const) {
      const key = `${name}, ${security}`
      it.effect(`keeps, is watched, leases and is copied ${name}, ${security}`, () =>
        Effect.gen(function*() {
          const channel = yield* connectToEtcd(security)
          yield* keeps(channel, key, large)
          yield* watches(channel, `${key}/`)
          yield* leases(channel, `leased ${key}`)
          assert.isAbove(yield* snapshots(channel), large.length)
        }).pipe(Effect.provide(Grpc.layer.pipe(Layer.provide(way()))), Effect.scoped))
    }
  }

  it.effect("says which hop it was that could not be passed", () =>
    Effect.gen(function*() {
      const squid = yield* Squid
      const proxy = Proxy.layer(`http://127.0.0.1:${squid.port}`).pipe(Layer.provide(Dialer.layer))
      const error = yield* Effect.flip(
        connectToEtcd().pipe(Effect.provide(Grpc.layer.pipe(Layer.provide(proxy))), Effect.scoped)
      )
      assert.strictEqual(error._tag, "DialError")
      if (error._tag === "DialError") {
        assert.strictEqual(error.reason._tag, "ProxyAuthentication")
        assert.strictEqual(error.hop, `http://127.0.0.1:${squid.port}`)
      }
    }))
})

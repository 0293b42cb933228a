import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as LayerMap from "effect/LayerMap"
import { unixPathAddress } from "effect/net/NetAddress"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { DialError, Refused } from "../../src/errors/DialError.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Grpc from "../../src/services/Grpc.ts"
import * as GrpcSchema from "../../src/services/GrpcSchema.ts"
import * as HostKeys from "../../src/services/HostKeys.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import * as SshAuth from "../../src/services/SshAuth.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import * as TcpServer from "../../src/services/TcpServer.ts"

type Asked = Array<string>

/** A network on which nothing can be reached and nobody comes, and which notices who dialled and listened. */
const network = (name: string, asked: Asked) =>
  Layer.merge(
    Layer.sync(Dialer.Dialer, () => ({
      connectTimeout: Duration.seconds(1),
      dial: () =>
        Effect.suspend(() => {
          asked.push(name)
          return Effect.fail(new DialError({ target: name, hop: "direct", reason: new Refused({ address: name }) }))
        })
    })),
    Layer.sync(Listener.Listener, () => ({
      bind: () =>
        Effect.sync(() => {
          asked.push(name)
          return {
            address: unixPathAddress(name),
            accept: Effect.never,
            receive: () => ({ more: () => {}, stop: () => {} })
          }
        })
    }))
  )

/** One value of a service's layer, used over several networks, must give each its own service. */
const keepsNetworksApart = <I, S, E>(
  name: string,
  service: Context.Service<I, S>,
  layer: Layer.Layer<I, E, Dialer.Dialer | Listener.Listener>,
  use: (service: S) => Effect.Effect<unknown, unknown, Scope.Scope>
) => {
  class Left extends Context.Service<Left, S>()("test/memoisation/Left") {}
  class Right extends Context.Service<Right, S>()("test/memoisation/Right") {}
  const tryUsing = (service: S) => Effect.ignore(Effect.scoped(use(service)))
  const here = Effect.flatMap(Effect.service(service), tryUsing)

  describe(`${name} keeps two networks apart`, () => {
    it.live("in one mergeAll", () =>
      Effect.gen(function*() {
        const asked: Asked = []
        const over = (name: string) => Layer.provide(layer, network(name, asked))
        yield* Effect.andThen(Left.use(tryUsing), Right.use(tryUsing)).pipe(
          Effect.provide(Layer.mergeAll(
            Layer.provide(Layer.effect(Left, Effect.service(service)), over("left")),
            Layer.provide(Layer.effect(Right, Effect.service(service)), over("right"))
          ))
        )
        assert.sameMembers(asked, ["left", "right"])
      }))

    it.live("in nested provides", () =>
      Effect.gen(function*() {
        const asked: Asked = []
        const over = (name: string) => Layer.provide(layer, network(name, asked))
        yield* here.pipe(Effect.andThen(Effect.provide(here, over("inner"))), Effect.provide(over("outer")))
        assert.deepStrictEqual(asked, ["outer", "inner"])
      }))

    it.live("in the lookup of a LayerMap", () =>
      Effect.gen(function*() {
        const asked: Asked = []
        const services = yield* LayerMap.make((name: string) => Layer.provide(layer, network(name, asked)))
        yield* Effect.provide(here, services.get("first"))
        yield* Effect.provide(here, services.get("second"))
        assert.deepStrictEqual(asked, ["first", "second"])
      }))
  })
}

keepsNetworksApart("TcpClient.layer", TcpClient.TcpClient, TcpClient.layer, (tcp) => tcp.connect("nowhere.test:1"))

keepsNetworksApart("Ssh.layer", Ssh.Ssh, Ssh.layer, (ssh) =>
  ssh.connect({
    host: "nowhere.test",
    username: "nobody",
    auth: SshAuth.password(Redacted.make("none")),
    hostKeys: HostKeys.insecureAcceptAny
  }))

keepsNetworksApart("Ssh.layerPooled", Ssh.Ssh, Ssh.layerPooled(), (ssh) =>
  ssh.connect({
    host: "nowhere.test",
    username: "nobody",
    auth: SshAuth.password(Redacted.make("none")),
    hostKeys: HostKeys.insecureAcceptAny
  }))

keepsNetworksApart(
  "Grpc.layer",
  Grpc.Grpc,
  Grpc.layer,
  (grpc) => grpc.connect({ url: "http://nowhere.test:1", schema: GrpcSchema.fromSource(`syntax = "proto3";`) })
)

// it listens while it is built
keepsNetworksApart("TcpServer.layer", TcpServer.TcpServer, TcpServer.layer({ port: 0 }), () => Effect.void)

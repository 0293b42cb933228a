/** etcd, a gRPC server (grpc-go) of which neither side of this library has written a line. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { fileURLToPath } from "node:url"
import { folder, onFreePorts, run, services, start } from "./peer.ts"

const make = Effect.gen(function*() {
  const directory = yield* folder("etcd")
  const port = yield* onFreePorts(2, ([port, peerPort]) =>
    Effect.gen(function*() {
      const [client, peer] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${peerPort}`]
      yield* start({ command: "etcd", package: "etcd-server" }, {
        args: ["--name", "peer", "--data-dir", `${directory}/data`, "--logger=zap", "--log-level", "error"].concat(
          ["--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer],
          ["--initial-advertise-peer-urls", peer, "--initial-cluster", `peer=${peer}`]
        ),
        cwd: directory,
        ports: [port!]
      })
      return port!
    }))
  // it takes connections before it has elected itself
  yield* run(
    { command: "etcdctl", package: "etcd-client" },
    ["--endpoints", `127.0.0.1:${port}`, "endpoint", "health"],
    {
      env: { ETCDCTL_API: "3" },
      extendEnv: true
    }
  ).pipe(Effect.retry(Schedule.spaced("100 millis").pipe(Schedule.upTo({ times: 100 }))))
  const protos = fileURLToPath(new URL("../protos", import.meta.url))
  return { host: "127.0.0.1", port, protos, proto: "etcd/etcdserver/etcdserverpb/rpc.proto" }
})

/** A running etcd of one member. `proto` is to be found in `protos`. */
export class Etcd extends Context.Service<Etcd, Effect.Success<typeof make>>()("test/peers/Etcd") {
  static readonly layer = Layer.effect(this, make).pipe(Layer.provide(services))
}

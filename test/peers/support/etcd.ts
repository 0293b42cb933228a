/** etcd, a gRPC server (grpc-go) of which neither side of this library has written a line: plain, and over mutual TLS. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { fileURLToPath } from "node:url"
import { certificates } from "./certificates.ts"
import { folder, onFreePorts, run, services, start } from "./peer.ts"

const make = Effect.gen(function*() {
  const directory = yield* folder("etcd")
  const certs = yield* certificates
  const ports = yield* onFreePorts(3, ([port, tlsPort, peerPort]) =>
    Effect.gen(function*() {
      const clients = `http://127.0.0.1:${port},https://127.0.0.1:${tlsPort}`
      const peer = `http://127.0.0.1:${peerPort}`
      yield* start({ command: "etcd", package: "etcd-server" }, {
        args: ["--name", "peer", "--data-dir", `${directory}/data`, "--logger=zap", "--log-level", "error"].concat(
          ["--listen-client-urls", clients, "--advertise-client-urls", clients, "--listen-peer-urls", peer],
          ["--initial-advertise-peer-urls", peer, "--initial-cluster", `peer=${peer}`, "--enable-grpc-gateway=false"],
          ["--cert-file", certs.server.cert, "--key-file", certs.server.key, "--client-cert-auth"],
          ["--trusted-ca-file", certs.ca]
        ),
        cwd: directory,
        ports: [port!, tlsPort!, peerPort!]
      })
      return { port: port!, tlsPort: tlsPort! }
    }))
  // it takes connections before it has elected itself
  const etcdctl = { command: "etcdctl", package: "etcd-client" }
  yield* run(etcdctl, ["--endpoints", `127.0.0.1:${ports.port}`, "endpoint", "health"], {
    env: { ETCDCTL_API: "3" },
    extendEnv: true
  }).pipe(Effect.retry(Schedule.spaced("100 millis").pipe(Schedule.upTo({ times: 100 }))))
  const protos = fileURLToPath(new URL("../protos", import.meta.url))
  return {
    host: "127.0.0.1",
    ...ports,
    certificates: certs,
    /** The folder of its definitions, and the file in it that has its services. */
    protos,
    proto: `${protos}/etcd/etcdserver/etcdserverpb/rpc.proto`
  }
})

/** A running etcd of one member. */
export class Etcd extends Context.Service<Etcd, Effect.Success<typeof make>>()("test/peers/Etcd") {
  static readonly layer = Layer.effect(this, make).pipe(Layer.provide(services))
}

/** etcd, a gRPC server (grpc-go) of which neither side of this library has written a line: plain, and over mutual TLS. */
import { assert } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { fileURLToPath } from "node:url"
import * as Grpc from "../../../src/services/Grpc.ts"
import * as GrpcSchema from "../../../src/services/GrpcSchema.ts"
import { certificates } from "./certificates.ts"
import { folder, onFreePorts, run, services, start } from "./peer.ts"

const protos = fileURLToPath(new URL("../protos", import.meta.url))

/** What it offers. */
export const etcdSchema = GrpcSchema.fromFile(`${protos}/etcd/etcdserver/etcdserverpb/rpc.proto`, {
  includeDirs: [protos]
})

const make = Effect.gen(function*() {
  const directory = yield* folder("etcd")
  const certs = yield* certificates

  const startAt = Effect.fnUntraced(function*([port, tlsPort, peerPort]: ReadonlyArray<number>) {
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
    // it takes connections before it has elected itself
    const etcdctl = { command: "etcdctl", package: "etcd-client" }
    yield* run(etcdctl, ["--endpoints", `127.0.0.1:${port}`, "endpoint", "health"], {
      env: { ETCDCTL_API: "3" },
      extendEnv: true
    }).pipe(Effect.retry(Schedule.spaced("100 millis").pipe(Schedule.upTo({ times: 100 }))))
  })

  const owner = yield* Effect.scope
  let running = yield* Scope.fork(owner)
  const ports = yield* onFreePorts(3, (ports) => Effect.as(startAt(ports), ports)).pipe(Scope.provide(running))
  return {
    host: "127.0.0.1",
    port: ports[0]!,
    tlsPort: ports[1]!,
    certificates: certs,
    /** Stops it. */
    stop: Effect.suspend(() => Scope.close(running, Exit.void)),
    /** Starts it again, with the ports and the data that it had. */
    startAgain: Effect.gen(function*() {
      running = yield* Scope.fork(owner)
      yield* startAt(ports).pipe(Scope.provide(running), Effect.provide(services))
    })
  }
})

/** A running etcd of one member. */
export class Etcd extends Context.Service<Etcd, Effect.Success<typeof make>>()("test/peers/Etcd") {
  static readonly layer = Layer.effect(this, make).pipe(Layer.provide(services))
}

/** A channel to it over the network that is there, in plain text or over mutual TLS. */
export const connectToEtcd = Effect.fnUntraced(function*(security: "plain" | "mutual TLS" = "plain") {
  const { certificates: { ca, client }, host, port, tlsPort } = yield* Etcd
  const grpc = yield* Grpc.Grpc
  return yield* grpc.connect(
    security === "plain"
      ? { url: `http://${host}:${port}`, schema: etcdSchema }
      : { url: `https://${host}:${tlsPort}`, schema: etcdSchema, tls: { ca, ...client } }
  )
})

export const bytes = (text: string) => new TextEncoder().encode(text)

export const text = (bytes: unknown) => bytes instanceof Uint8Array ? new TextDecoder().decode(bytes) : assert.fail()

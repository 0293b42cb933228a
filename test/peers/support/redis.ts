/** redis-server: one with a password, one over TLS, one over TLS that demands a client certificate. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { certificates } from "./certificates.ts"
import { folder, onFreePorts, services, start } from "./peer.ts"

const redisServer = { command: "redis-server", package: "redis-server" }

const make = Effect.gen(function*() {
  const directory = yield* folder("redis")
  const certs = yield* certificates
  const password = "hunter2"
  const socket = `${directory}/redis.sock`
  const serve = (...settings: ReadonlyArray<string>) =>
    onFreePorts(1, ([port]) =>
      Effect.as(
        start(redisServer, {
          args: ["--bind", "127.0.0.1", "--save", "", "--dir", directory]
            .concat(settings.map((setting) => setting === "PORT" ? String(port) : setting)),
          cwd: directory,
          ports: [port!]
        }),
        port!
      ))
  const tls = ["--port", "0", "--tls-port", "PORT", "--tls-cert-file", certs.server.cert]
    .concat("--tls-key-file", certs.server.key, "--tls-ca-cert-file", certs.ca)
  const [port, tlsPort, mtlsPort] = yield* Effect.all([
    serve("--port", "PORT", "--requirepass", password, "--unixsocket", socket, "--unixsocketperm", "777"),
    serve(...tls, "--tls-auth-clients", "no"),
    serve(...tls, "--tls-auth-clients", "yes")
  ], { concurrency: "unbounded" })
  return { host: "127.0.0.1", port, socket, password, tlsPort, mtlsPort, certificates: certs }
})

/** Running redis servers. */
export class Redis extends Context.Service<Redis, Effect.Success<typeof make>>()("test/peers/Redis") {
  static readonly layer = Layer.effect(this, make).pipe(Layer.provide(services))
}

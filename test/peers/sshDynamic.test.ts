import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Proxy from "../../src/layers/Proxy.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import { closedPort } from "../support/servers.ts"
import { OpenSsh, sshDynamic } from "./support/openssh.ts"
import { echo, ourServer } from "./support/ourServer.ts"
import { services } from "./support/peer.ts"
import { Redis } from "./support/redis.ts"
import { ask } from "./support/resp.ts"

const connect = (target: Dialer.DialTarget, proxy: string, tls?: TcpClient.ConnectOptions["tls"]) =>
  Effect.flatMap(TcpClient.TcpClient, (tcp) => tcp.connect(target, { tls })).pipe(
    Effect.provide(TcpClient.layer.pipe(Layer.provide(Proxy.layer(proxy)), Layer.provide(Dialer.layer)))
  )

const peers = Layer.mergeAll(OpenSsh.layer, Redis.layer, services)

layer(peers, { excludeTestServices: true, timeout: "60 seconds" })("ssh -D", (it) => {
  it.effect("connects over SOCKS4a, SOCKS4 and SOCKS5, to names and addresses", () =>
    Effect.gen(function*() {
      const { password, port } = yield* Redis
      const proxy = `127.0.0.1:${yield* sshDynamic}`
      const ways = [
        ["socks4a", "localhost"],
        ["socks4", "localhost"],
        ["socks4", "127.0.0.1"],
        ["socks5h", "localhost"],
        ["socks5", "127.0.0.1"]
      ] as const
      for (const [protocol, host] of ways) {
        const connection = yield* connect({ host, port }, `${protocol}://${proxy}`)
        assert.strictEqual(yield* ask(connection, "AUTH", password), "OK")
      }
    }))

  it.effect("connects to IPv6 addresses", () =>
    Effect.gen(function*() {
      const address = yield* ourServer(echo, { host: "::1" })
      const port = Number(address.split("]:")[1])
      const connection = yield* connect({ host: "::1", port }, `socks5://127.0.0.1:${yield* sshDynamic}`)
      yield* connection.write("hello\n")
      assert.strictEqual(yield* connection.readLine(), "hello")
    }))

  it.effect("carries TLS to the target", () =>
    Effect.gen(function*() {
      const { certificates, tlsPort } = yield* Redis
      const proxy = `socks4a://127.0.0.1:${yield* sshDynamic}`
      const connection = yield* connect({ host: "localhost", port: tlsPort }, proxy, { ca: certificates.ca })
      assert.strictEqual(yield* ask(connection, "PING"), "PONG")
    }))

  it.effect("carries eight megabytes in each direction unharmed", () =>
    Effect.gen(function*() {
      const { password, port } = yield* Redis
      const connection = yield* connect({ host: "127.0.0.1", port }, `socks4://127.0.0.1:${yield* sshDynamic}`)
      const value = "0123456789abcdef".repeat(524_288)
      assert.strictEqual(yield* ask(connection, "AUTH", password), "OK")
      assert.strictEqual(yield* ask(connection, "SET", "large", value), "OK")
      assert.isTrue((yield* ask(connection, "GET", "large")) === value)
    }))

  it.effect("hangs up instead of an answer when nothing listens at the target", () =>
    Effect.gen(function*() {
      const closed = yield* closedPort
      const proxy = yield* sshDynamic
      for (const protocol of ["socks4a", "socks5"]) {
        const error = yield* Effect.flip(
          connect({ host: "localhost", port: closed }, `${protocol}://127.0.0.1:${proxy}`)
        )
        assert.strictEqual(error._tag === "DialError" ? error.reason._tag : error._tag, "ProxyProtocol")
        assert.include(error.message, "ended before the answer")
      }
    }))
})

import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Proxy from "../../src/layers/Proxy.ts"
import * as SshTunnel from "../../src/layers/SshTunnel.ts"
import * as Tls from "../../src/layers/Tls.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import { closedPort } from "../support/servers.ts"
import { Danted } from "./support/danted.ts"
import { OpenSsh, sshSettings } from "./support/openssh.ts"
import { Redis } from "./support/redis.ts"
import { ask } from "./support/resp.ts"
import { Squid } from "./support/squid.ts"

/** A way out through the peer, which is itself reached over `below`. */
const tunnel = <E, R>(below: Layer.Layer<Dialer.Dialer, E, R>) =>
  Layer.unwrap(Effect.map(sshSettings(), (settings) => SshTunnel.layer(settings))).pipe(Layer.provide(below))

/** Asks redis over a network. */
const greets = Effect.fnUntraced(
  function*(target: Dialer.DialTarget, tls?: TcpClient.ConnectOptions["tls"]) {
    const { password } = yield* Redis
    const tcp = yield* TcpClient.TcpClient
    const connection = yield* tcp.connect(target, { tls })
    const answer = yield* tls === undefined ? ask(connection, "AUTH", password) : ask(connection, "PING")
    assert.strictEqual(answer, tls === undefined ? "OK" : "PONG")
  }
)

const over = <E, R>(network: Layer.Layer<Dialer.Dialer, E, R>) =>
  Effect.provide(TcpClient.layer.pipe(Layer.provide(network)))

const peers = Layer.mergeAll(Danted.layer, OpenSsh.layer, Redis.layer, Squid.layer)

layer(peers, { excludeTestServices: true, timeout: "60 seconds" })("SshTunnel through OpenSSH", (it) => {
  it.effect("reaches an address, a name that the server resolves, and a unix socket", () =>
    Effect.gen(function*() {
      const { host, port, socket } = yield* Redis
      yield* Effect.gen(function*() {
        yield* greets({ host, port })
        yield* greets({ host: "localhost", port })
        yield* greets({ path: socket })
      }).pipe(over(tunnel(Dialer.layer)))
    }))

  it.effect("carries TLS to the target", () =>
    Effect.gen(function*() {
      const { certificates, host, tlsPort } = yield* Redis
      yield* greets({ host, port: tlsPort }, { ca: certificates.ca }).pipe(over(tunnel(Dialer.layer)))
      const tls = Tls.layer({ ca: certificates.ca }).pipe(Layer.provide(tunnel(Dialer.layer)))
      const pong = yield* Effect.flatMap(TcpClient.TcpClient, (tcp) =>
        Effect.flatMap(tcp.connect({ host, port: tlsPort }), (connection) => ask(connection, "PING"))).pipe(over(tls))
      assert.strictEqual(pong, "PONG")
    }))

  it.effect("carries many connections at once, each with its own bytes", () =>
    Effect.gen(function*() {
      const { host, password, port } = yield* Redis
      yield* Effect.gen(function*() {
        const tcp = yield* TcpClient.TcpClient
        const one = Effect.fnUntraced(function*(i: number) {
          const connection = yield* tcp.connect({ host, port })
          yield* ask(connection, "AUTH", password)
          return yield* ask(connection, "ECHO", `${i}`.repeat(20_000))
        }, Effect.scoped)
        const numbers = Array.from({ length: 20 }, (_, i) => i)
        const answers = yield* Effect.forEach(numbers, one, { concurrency: "unbounded" })
        assert.deepStrictEqual(answers, numbers.map((i) => `${i}`.repeat(20_000)))
      }).pipe(over(tunnel(Dialer.layer)))
    }))

  it.effect("carries eight megabytes in each direction unharmed", () =>
    Effect.gen(function*() {
      const { host, password, port } = yield* Redis
      const value = "0123456789abcdef".repeat(524_288)
      yield* Effect.gen(function*() {
        const tcp = yield* TcpClient.TcpClient
        const connection = yield* tcp.connect({ host, port })
        assert.strictEqual(yield* ask(connection, "AUTH", password), "OK")
        assert.strictEqual(yield* ask(connection, "SET", "large", value), "OK")
        assert.isTrue((yield* ask(connection, "GET", "large")) === value)
      }).pipe(over(tunnel(Dialer.layer)))
    }))

  it.effect("goes through a tunnel in a tunnel", () =>
    Effect.gen(function*() {
      const { host, port } = yield* Redis
      yield* greets({ host, port }).pipe(over(tunnel(tunnel(Dialer.layer))))
    }))

  it.effect("is reached through a SOCKS and an HTTP proxy", () =>
    Effect.gen(function*() {
      const { host, port } = yield* Redis
      const squid = yield* Squid
      const danted = yield* Danted
      const http = Proxy.layer({
        protocol: "http",
        host: squid.host,
        port: squid.port,
        username: squid.username,
        password: Redacted.make(squid.password)
      })
      const socks = Proxy.layer(`socks5://127.0.0.1:${danted.port}`)
      yield* greets({ host, port }).pipe(over(tunnel(http.pipe(Layer.provide(socks), Layer.provide(Dialer.layer)))))
    }))

  it.effect("runs commands through a proxy and through another server", () =>
    Effect.gen(function*() {
      const { username } = yield* OpenSsh
      const socks = Proxy.layer(`socks5://127.0.0.1:${(yield* Danted).port}`).pipe(Layer.provide(Dialer.layer))
      const settings = yield* sshSettings()
      const whoAmI = Effect.flatMap(Ssh.Ssh, (ssh) => ssh.execute(settings, "id -un"))
      for (const network of [socks, tunnel(Dialer.layer)]) {
        const result = yield* whoAmI.pipe(Effect.provide(Ssh.layer.pipe(Layer.provide(network))))
        assert.strictEqual(result.text, `${username}\n`)
      }
    }))

  it.effect("says that nothing listens at the target", () =>
    Effect.gen(function*() {
      const closed = yield* closedPort
      const { folder, port, username } = yield* OpenSsh
      const refusal = (target: Dialer.DialTarget) =>
        Effect.map(Effect.flip(greets(target)).pipe(over(tunnel(Dialer.layer))), (error) => {
          assert.strictEqual(error._tag === "DialError" ? error.hop : "", `ssh ${username}@127.0.0.1:${port}`)
          return error._tag === "DialError" ? error.reason._tag : error._tag
        })
      assert.strictEqual(yield* refusal({ host: "127.0.0.1", port: closed }), "Refused")
      assert.strictEqual(yield* refusal({ path: `${folder}/no-such-socket` }), "TunnelRefused")
    }))
})

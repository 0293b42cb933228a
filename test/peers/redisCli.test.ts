import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { Certificates } from "./support/certificates.ts"
import { ourRedis } from "./support/ourRedis.ts"
import { folder, run, services } from "./support/peer.ts"
import { command } from "./support/resp.ts"

const redisCli = { command: "redis-cli", package: "redis-tools" }
const redisBenchmark = { command: "redis-benchmark", package: "redis-tools" }

const text = (content: string) => ({ stdin: Stream.encodeText(Stream.make(content)) })

/** The arguments by which redis's programs find a server. */
const at = (address: string) => ["-h", "127.0.0.1", "-p", address.split(":")[1]!]

const peers = Layer.merge(Certificates.layer, services)

layer(peers, { excludeTestServices: true, timeout: "60 seconds" })("redis-cli", (it) => {
  it.effect("asks our server, and gets its answers and errors", () =>
    Effect.gen(function*() {
      const address = yield* ourRedis()
      const cli = (...words: ReadonlyArray<string>) => run(redisCli, [...at(address), ...words])
      assert.strictEqual(yield* cli("PING"), "PONG")
      assert.strictEqual(yield* cli("SET", "key", "first\r\nsecond wörld ✓"), "OK")
      assert.strictEqual(yield* cli("GET", "key"), "first\r\nsecond wörld ✓")
      assert.strictEqual(yield* cli("GET", "no such key"), "")
      assert.include(yield* cli("NONSENSE"), "ERR unknown command 'NONSENSE'")
    }))

  it.effect("stores eight megabytes with us and gets them back", () =>
    Effect.gen(function*() {
      const address = yield* ourRedis()
      const value = "0123456789abcdef".repeat(524_288)
      assert.strictEqual(yield* run(redisCli, [...at(address), "-x", "SET", "large"], text(value)), "OK")
      assert.isTrue((yield* run(redisCli, [...at(address), "GET", "large"])) === value)
    }))

  it.effect("reaches us over a unix socket", () =>
    Effect.gen(function*() {
      const path = `${yield* folder("redis-cli")}/redis.sock`
      yield* ourRedis({ path })
      assert.strictEqual(yield* run(redisCli, ["-s", path, "PING"]), "PONG")
    }))

  it.effect("reaches us over TLS with its client certificate, and not without", () =>
    Effect.gen(function*() {
      const { ca, client, server } = yield* Certificates
      const address = yield* ourRedis({ tls: { ...server, ca, requestClientCertificate: true } })
      const tls = [...at(address), "--tls", "--cacert", ca]
      const known = yield* run(redisCli, [...tls, "--cert", client.cert, "--key", client.key, "PING"])
      assert.strictEqual(known, "PONG")
      const unknown = yield* Effect.flip(run(redisCli, [...tls, "PING"]))
      assert.notInclude(unknown.output, "PONG")
    }))

  it.effect("pipes 10,000 commands into our server and counts as many answers", () =>
    Effect.gen(function*() {
      const address = yield* ourRedis()
      const commands = Array.from({ length: 10_000 }, (_, i) => command("SET", `key ${i}`, `value ${i}`))
      const report = yield* run(redisCli, [...at(address), "--pipe"], text(commands.join("")))
      assert.include(report, "errors: 0, replies: 10000")
    }))

  it.effect("benchmarks our server with fifty clients that send sixteen commands at a time", () =>
    Effect.gen(function*() {
      const address = yield* ourRedis()
      const report = yield* run(
        redisBenchmark,
        [...at(address), "-n", "20000", "-c", "50", "-P", "16", "-d", "100", "-t", "set,get", "--csv"]
      )
      assert.match(report, /^"SET","\d/m)
      assert.match(report, /^"GET","\d/m)
    }))
})

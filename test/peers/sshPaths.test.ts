import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import type { Duplex } from "node:stream"
import * as Proxy from "../../src/layers/Proxy.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import { dial, loopback, portOf } from "../support/forwarding.ts"
import { reasonOf } from "../support/reason.ts"
import { rawServer } from "../support/servers.ts"
import { echo, readAll } from "../support/streams.ts"
import { holds, plant } from "../support/trees.ts"
import { Danted } from "./support/danted.ts"
import { OpenSsh, sshSettings } from "./support/openssh.ts"
import { services } from "./support/peer.ts"
import { Squid } from "./support/squid.ts"
import { sshdWith } from "./support/sshdWith.ts"
import { places, randomFile, servedBy, sha256 } from "./support/transfers.ts"

const peers = Layer.mergeAll(OpenSsh.layer, Danted.layer, Squid.layer, Listener.layer, Dialer.layer, services)

const through = (url: Effect.Effect<string, never, Danted | Squid>) =>
  Layer.unwrap(Effect.map(url, (url) => Proxy.layer(url))).pipe(Layer.provide(Dialer.layer))

/** The ways to the server, and how many jump hosts there are on them. */
const paths = {
  "SOCKS5": [through(Effect.map(Danted, ({ host, port }) => `socks5://${host}:${port}`)), 0],
  "HTTP CONNECT": [through(Effect.map(Squid, ({ host, openPort }) => `http://${host}:${openPort}`)), 0],
  "two jump hosts": [Dialer.layer, 2]
} as const

/** A server behind so many jump hosts, which agrees on new keys every megabyte, and how to get there. */
const behind = Effect.fnUntraced(function*(jumps: number) {
  const jump = yield* Effect.replicateEffect(sshdWith(""), jumps)
  return yield* sshSettings(jumps === 0 ? {} : { jump: jump.map(({ settings }) => settings) })
})

const megabyte = 1024 * 1024
const large = Buffer.alloc(4 * megabyte, "0123456789abcdef")

const roundTrip = Effect.fnUntraced(function*(client: Duplex) {
  client.end(large)
  const { bytes, ending } = yield* readAll(client)
  assert.deepStrictEqual([ending, bytes.equals(large)], ["end", true])
})

layer(peers, { excludeTestServices: true, timeout: "120 seconds" })("SSH through whatever is in between", (it) => {
  for (const [name, [network, jumps]] of Object.entries(paths)) {
    const over = Effect.provide(Ssh.layer.pipe(Layer.provide(network)))

    it.effect(`runs commands and shells through ${name}, while keys are exchanged`, () =>
      Effect.gen(function*() {
        const { session } = yield* places(yield* behind(jumps))
        const sent = yield* session.execute("cat", { stdin: large })
        assert.isTrue(Buffer.from(sent.stdout).equals(large))
        const shell = yield* session.shell({ modes: { ECHO: 0 } })
        yield* shell.connection.write("echo $((40 + 2)); exit 3\n")
        yield* shell.connection.readUntil("42")
        assert.deepInclude((yield* shell.exit).exitCode, { value: 3 })
      }).pipe(over))

    it.effect(`copies what is large and what is many through ${name}`, () =>
      Effect.gen(function*() {
        const { here, session, there } = yield* places(yield* behind(jumps))
        const original = yield* randomFile(`${here}/a`, 32 * megabyte)
        yield* session.upload(`${here}/a`, `${there}/a`)
        yield* session.download(`${there}/a`, `${here}/b`)
        assert.strictEqual(yield* sha256(`${here}/b`), original)
        const many = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`${index}.txt`, `number ${index}`]))
        yield* plant(`${here}/many`, many)
        yield* session.upload(`${here}/many`, `${there}/many`)
        yield* session.download(`${there}/many`, `${here}/again`)
        yield* holds(`${here}/again`, many)
      }).pipe(over))

    it.effect(`forwards in every direction through ${name}`, () =>
      Effect.gen(function*() {
        const { session } = yield* places(yield* behind(jumps))
        const target = yield* rawServer()
        yield* Effect.forkScoped(Effect.forever(Effect.flatMap(target.next, echo)))
        const to = { host: "127.0.0.1", port: target.port }
        yield* roundTrip(yield* dial((yield* session.forwardLocal(loopback, to)).address))
        yield* roundTrip(yield* dial((yield* session.forwardRemote(loopback, to)).address))
        const { address } = yield* session.forwardDynamic(loopback)
        const proxy = Proxy.layer({ protocol: "socks5", host: "127.0.0.1", port: portOf(address) })
        yield* Effect.flatMap(Dialer.Dialer, (dialer) => Effect.flatMap(dialer.dial(to), roundTrip)).pipe(
          Effect.provide(proxy.pipe(Layer.provide(Dialer.layer)))
        )
      }).pipe(Effect.scoped, over))

    it.effect(`says through ${name} that the server was killed in the middle of a transfer, and resumes it`, () =>
      Effect.gen(function*() {
        const settings = yield* behind(jumps)
        const { here, session, there } = yield* places(settings)
        const size = 48 * megabyte
        const original = yield* randomFile(`${here}/a`, size)
        const pid = yield* servedBy(session)
        const download = yield* Effect.forkChild(reasonOf(session.execute("sleep 60")))
        const reason = yield* reasonOf(
          session.uploadProgress(`${here}/a`, `${there}/a`, { resume: true }).pipe(
            Stream.runForEach(({ transferred }) =>
              Effect.ignoreCause(Effect.sync(() => {
                if (transferred > size / 3) process.kill(pid, "SIGKILL")
              }))
            )
          )
        )
        assert.strictEqual(reason._tag, "ConnectionLost")
        assert.strictEqual((yield* Fiber.join(download))._tag, "ConnectionLost")
        const again = yield* Ssh.Ssh.use((ssh) => ssh.connect(settings))
        yield* again.upload(`${here}/a`, `${there}/a`, { resume: true })
        assert.strictEqual(yield* sha256(`${there}/a`), original)
        const fs = yield* FileSystem.FileSystem
        assert.deepStrictEqual(yield* fs.readDirectory(there), ["a"])
      }).pipe(over))
  }
})

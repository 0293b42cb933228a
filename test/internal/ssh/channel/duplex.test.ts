import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { Duplex } from "node:stream"
import Ssh2 from "ssh2"
import { ConnectionLost } from "../../../../src/errors/SshError.ts"
import { ChannelDuplex, openExec, openSubsystem } from "../../../../src/internal/ssh/channel/duplex.ts"
import { Sessions } from "../../../../src/internal/ssh/channel/sessions.ts"
import { type Connection, Life } from "../../../../src/internal/ssh/connection.ts"
import { until } from "../../../support/ssh.ts"
import * as SshPeer from "../../../support/sshPeer.ts"
import { read, readAll, write } from "../../../support/streams.ts"

/** As much of a connection as a channel needs. */
const connected = Effect.gen(function*() {
  const server = yield* SshPeer.make({ username: "demo", password: "p" })
  const life = new Life()
  const client = yield* Effect.acquireRelease(
    Effect.callback<Ssh2.Client, Error>((resume) => {
      const client = new Ssh2.Client()
      client
        .on("error", (error) => resume(Effect.fail(error)))
        .on("close", () => life.end("the server closed it"))
        .on("ready", () => resume(Effect.succeed(client)))
        .connect({ host: "127.0.0.1", port: server.port, username: "demo", password: "p" })
    }),
    (client) => Effect.sync(() => client.end())
  )
  const parts: any = {
    client,
    withAgent: (request: unknown) => request,
    sessions: new Sessions(client, { event: () => undefined }),
    lost: life.lost,
    onLost: life.onLost
  }
  const connection: Connection = parts
  return { server, connection }
})

const closed = (duplex: Duplex) =>
  Effect.callback<Error | null>((resume) => void duplex.once("close", () => resume(Effect.succeed(duplex.errored))))

describe("a channel as a stream", () => {
  it.live("passes bytes both ways, its end, and says how the process ended", () =>
    Effect.gen(function*() {
      const { connection } = yield* connected
      const duplex = yield* openExec(connection, "cat")
      assert.instanceOf(duplex, ChannelDuplex)
      assert.strictEqual(yield* write(duplex, "hello"), "ok")
      assert.strictEqual((yield* read(duplex, 5)).toString(), "hello")
      duplex.end("bye")
      const { bytes, ending } = yield* readAll(duplex)
      assert.deepStrictEqual([bytes.toString(), ending], ["bye", "end"])
      assert.deepStrictEqual((yield* duplex.exit).exitCode, Option.some(0))
      duplex.release()
    }))

  it.live("gives the error output to who wants it", () =>
    Effect.gen(function*() {
      const { connection } = yield* connected
      let complaint = ""
      const onErrorOutput = (bytes: Uint8Array) => void (complaint += Buffer.from(bytes).toString())
      const duplex = yield* openExec(connection, "stderr oh no", { onErrorOutput })
      assert.strictEqual((yield* readAll(duplex)).bytes.length, 0)
      assert.deepStrictEqual((yield* duplex.exit).exitCode, Option.some(1))
      assert.strictEqual(complaint, "oh no\n")
      const refused = yield* Effect.flip(openSubsystem(connection, "nothing"))
      assert.strictEqual(refused._tag, "ChannelRefused")
    }))

  it.live("answers every write, also when the far end, the connection or we ourselves end it", () =>
    Effect.gen(function*() {
      const { connection, server } = yield* connected
      const full = Buffer.alloc(8 * 1024 * 1024)
      const stuck = Effect.fnUntraced(function*(command: string) {
        const duplex = yield* openExec(connection, command)
        return { duplex, writing: yield* Effect.forkChild(write(duplex, full), { startImmediately: true }) }
      })
      const gone = yield* stuck("exit 3")
      assert.strictEqual(yield* Fiber.join(gone.writing), "EPIPE")
      const destroyed = yield* stuck("stderr but reads nothing")
      destroyed.duplex.destroy()
      assert.notStrictEqual(yield* Fiber.join(destroyed.writing), "ok")
      assert.strictEqual((yield* Effect.flip(destroyed.duplex.exit))._tag, "ConnectionLost")
      const lost = yield* Effect.forkChild(closed(yield* openExec(connection, "wait")), { startImmediately: true })
      yield* server.kill
      const error: (Error & { readonly code?: string }) | null = yield* Fiber.join(lost)
      assert.strictEqual(error?.code, "ECONNRESET")
      assert.instanceOf(error?.cause, ConnectionLost)
      assert.strictEqual((yield* Effect.flip(openExec(connection, "echo")))._tag, "ConnectionLost")
    }))

  it.live("is held back while nobody reads, and goes on", () =>
    Effect.gen(function*() {
      const { connection, server } = yield* connected
      const size = 12 * 1024 * 1024
      const duplex = yield* openExec(connection, `bytes ${size}`)
      yield* until(() => duplex.readableLength >= 2 * 1024 * 1024)
      yield* Effect.sleep("20 millis")
      assert.isBelow(server.produced(), 4 * 1024 * 1024)
      assert.isTrue(duplex.grant(1024 * 1024))
      yield* until(() => duplex.readableLength >= 3 * 1024 * 1024)
      let read = 0
      duplex.on("data", (chunk: Uint8Array) => void (read += chunk.length))
      yield* until(() => duplex.readableEnded)
      assert.strictEqual(read, size)
      duplex.end()
    }))
})

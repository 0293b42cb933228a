import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import { answer } from "../../../src/internal/net/handshake.ts"
import { guardErrors } from "../../../src/internal/net/owner.ts"
import { leavesNothing } from "../../support/leaks.ts"
import { turn } from "../../support/scripted.ts"
import { rawServer } from "../../support/servers.ts"
import { read, readAll, turns } from "../../support/streams.ts"

const memory = Buffer.alloc(4096)

/** The two ways in which bytes get from the system into a socket's stream. */
const ways: Record<string, (port: number) => Net.Socket> = {
  "that reads by itself": (port) => Net.connect({ port, host: "127.0.0.1", allowHalfOpen: true }),
  "whose reads are handed to its stream": (port) => {
    const socket: Net.Socket = Net.connect({
      port,
      host: "127.0.0.1",
      allowHalfOpen: true,
      onread: { buffer: memory, callback: (count) => socket.push(Buffer.from(memory.subarray(0, count))) }
    })
    return socket
  }
}

/** Everything that decides how a stream is read from now on. */
const mode = (duplex: Duplex) => {
  const state: unknown = Reflect.get(duplex, "_readableState")
  if (typeof state !== "object" || state === null) return assert.fail("streams have no such state any more")
  return {
    flowing: duplex.readableFlowing,
    paused: duplex.isPaused(),
    listening: Reflect.get(state, "readableListening"),
    resuming: Reflect.get(state, "resumeScheduled"),
    listeners: duplex.eventNames().map((name) => [name, duplex.listenerCount(name)])
  }
}

const untilBang = (duplex: Duplex) => {
  let text = ""
  return answer<string, string>(duplex, {
    limit: 100,
    broken: ({ detail }) => detail,
    parse: (bytes) => {
      const end = bytes.indexOf("!")
      text += bytes.toString("latin1", 0, end === -1 ? bytes.length : end)
      return end === -1 ? undefined : { used: end + 1, result: Effect.succeed(text) }
    }
  })
}

const write = (socket: Net.Socket, bytes: string | Uint8Array) =>
  Effect.callback<void>((resume) => void socket.write(bytes, () => resume(Effect.void)))

for (const [name, open] of Object.entries(ways)) {
  describe(`handshake on a socket ${name}`, () => {
    const connected = Effect.gen(function*() {
      const server = yield* rawServer()
      const client = yield* Effect.acquireRelease(
        Effect.callback<Net.Socket>((resume) => {
          const socket = guardErrors(open(server.port))
          socket.once("connect", () => resume(Effect.succeed(socket)))
        }),
        (socket) => Effect.sync(() => socket.destroy())
      )
      return { client, server: yield* server.next }
    })

    it.live("leaves the socket as it was, and what follows the answer in it", () =>
      leavesNothing(Effect.gen(function*() {
        const { client, server } = yield* connected
        const before = mode(client)
        yield* write(server, "answer!early")
        assert.strictEqual(yield* untilBang(client), "answer")
        yield* turn
        assert.deepStrictEqual(mode(client), before)
        server.end(" late")
        assert.strictEqual(String((yield* readAll(client)).bytes), "early late")
      })))

    it.live("leaves the socket as it was when it is interrupted", () =>
      leavesNothing(Effect.gen(function*() {
        const { client, server } = yield* connected
        const before = mode(client)
        const waiting = yield* Effect.forkChild(untilBang(client), { startImmediately: true })
        yield* Fiber.interrupt(waiting)
        yield* turn
        assert.deepStrictEqual(mode(client), before)
        server.end("for somebody else")
        assert.strictEqual(String((yield* readAll(client)).bytes), "for somebody else")
      })))

    it.live("understands an answer that comes byte by byte", () =>
      leavesNothing(Effect.gen(function*() {
        const { client, server } = yield* connected
        const answered = yield* Effect.forkChild(untilBang(client), { startImmediately: true })
        for (const byte of Buffer.from("answer!early")) {
          yield* write(server, Buffer.of(byte))
          yield* turn
        }
        server.end()
        assert.strictEqual(yield* Fiber.join(answered), "answer")
        assert.strictEqual(String((yield* readAll(client)).bytes), "early")
      })))

    it.live("reads no further than the stream's own limit, and loses nothing of what is held back", () =>
      leavesNothing(Effect.gen(function*() {
        const { client, server } = yield* connected
        const early = Buffer.alloc(16 << 20, "0123456789abcdef-")
        server.end(Buffer.concat([Buffer.from("answer!"), early]))
        assert.strictEqual(yield* untilBang(client), "answer")
        yield* turns(200)
        assert.isAtMost(client.readableLength, client.readableHighWaterMark + 64 * 1024)
        assert.isAbove(server.writableLength, 0)
        assert.strictEqual(String(yield* read(client, 17)), "0123456789abcdef-")
        yield* turns(200)
        assert.isAtMost(client.readableLength, client.readableHighWaterMark + 64 * 1024)
        const { bytes } = yield* readAll(client)
        assert.isTrue(bytes.equals(early.subarray(17)))
      })))

    it.live("says that the peer ended, or broke off, before the answer was complete", () =>
      leavesNothing(Effect.gen(function*() {
        const ends: ReadonlyArray<readonly [(socket: Net.Socket) => void, string]> = [
          [(socket) => socket.end("ans"), "the connection ended before the answer was complete"],
          [(socket) => socket.resetAndDestroy(), "the connection failed before the answer was complete"]
        ]
        for (const [end, expected] of ends) {
          const { client, server } = yield* connected
          const waiting = yield* Effect.forkChild(Effect.flip(untilBang(client)), { startImmediately: true })
          end(server)
          assert.strictEqual(yield* Fiber.join(waiting), expected)
        }
      })))
  })
}

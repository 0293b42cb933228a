import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { Worker } from "node:worker_threads"

/** A server of Node's own on loopback, or on a socket file, that does nothing but keep what connects to it. */
export const rawServer = (path?: string) =>
  Effect.gen(function*() {
    const sockets = new Set<Net.Socket>()
    const arrived = yield* Queue.unbounded<Net.Socket>()
    const server = yield* Effect.acquireRelease(
      Effect.callback<Net.Server>((resume) => {
        const server = Net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
          sockets.add(socket)
          socket.on("error", () => {}).on("close", () => sockets.delete(socket))
          Queue.offerUnsafe(arrived, socket)
        })
        const listening = () => resume(Effect.succeed(server))
        if (path === undefined) server.listen(0, "127.0.0.1", listening)
        else server.listen(path, listening)
      }),
      (server) =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          for (const socket of sockets) socket.destroy()
        })
    )
    const bound = server.address()
    const port = typeof bound === "object" && bound !== null ? bound.port : 0
    return {
      port,
      address: `127.0.0.1:${port}`,
      /** The next connection, paused. */
      next: Queue.take(arrived),
      /** Those that are open. */
      sockets
    }
  })

/** Waits until a socket is closed, reading and dropping what still comes. */
export const closedBy = (socket: Net.Socket) =>
  Effect.callback<void>((resume) => {
    if (socket.destroyed) return resume(Effect.void)
    socket.once("close", () => resume(Effect.void)).once("end", () => socket.end()).resume()
  })

/** Everything a socket sends until its end. */
export const receiveAll = (socket: Net.Socket) =>
  Effect.callback<Buffer>((resume) => {
    const pieces: Array<Buffer> = []
    socket.on("data", (piece: Buffer) => pieces.push(piece)).once("end", () => {
      socket.end()
      resume(Effect.succeed(Buffer.concat(pieces)))
    }).resume()
  })

const blackholeSource = `
const { createServer } = require("node:net")
const { parentPort, workerData } = require("node:worker_threads")
const server = createServer().listen({ host: "127.0.0.1", port: 0, backlog: 1 }, () => {
  parentPort.postMessage(server.address().port)
  Atomics.wait(new Int32Array(workerData), 0, 0)
})`

const connected = (port: number) =>
  Effect.acquireRelease(
    Effect.callback<Net.Socket>((resume) => {
      const socket = Net.connect(port, "127.0.0.1", () => resume(Effect.succeed(socket))).on("error", () => {})
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/**
 * A port of loopback on which nobody listens, nor can as long as the scope lives: it is the near end of a connection. One
 * that was only free a moment ago may be somebody else's by the time that it is dialled.
 */
export const closedPort = Effect.gen(function*() {
  const { port } = yield* rawServer()
  return (yield* connected(port)).localPort!
})

/**
 * A port of loopback that answers nobody: its server never accepts, and its backlog is full, so that the system drops
 * what asks for a connection.
 */
export const blackhole = Effect.gen(function*() {
  const worker = yield* Effect.acquireRelease(
    Effect.sync(() => new Worker(blackholeSource, { eval: true, workerData: new SharedArrayBuffer(4) })),
    (worker) => Effect.promise(() => worker.terminate())
  )
  const port = yield* Effect.callback<number>((resume) => {
    worker.once("message", (port: number) => resume(Effect.succeed(port)))
  })
  yield* connected(port)
  yield* connected(port)
  return port
})

/** A folder of its own, removed with the scope. */
export const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "hawser-"))),
  (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true, force: true }))
)

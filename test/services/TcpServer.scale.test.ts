/** Ten thousand connections on one server, with the server and its clients in processes of their own. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import { execFileSync, spawn } from "node:child_process"
import * as Readline from "node:readline"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** Node raises its limit of open files to the hard one by itself; beyond that nobody can go. */
const openFiles = Number(execFileSync("sh", ["-c", "ulimit -Hn"], { encoding: "utf8" }).replace("unlimited", "1e9"))
const count = Math.min(10_000, openFiles - 200)
const many = `${count} connections${
  count < 10_000 ? `, which is what the limit of ${openFiles} open files allows` : ""
}`

/** A program that is spoken to in lines. */
const program = Effect.fnUntraced(function*(...args: ReadonlyArray<string>) {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => spawn(process.execPath, args, { cwd: root, stdio: ["pipe", "pipe", "inherit"] })),
    (child) =>
      Effect.callback<void>((resume) => {
        if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
        child.once("exit", () => resume(Effect.void)).kill("SIGKILL")
      })
  )
  const lines = yield* Queue.unbounded<string>()
  Readline.createInterface({ input: child.stdout }).on("line", (line) => Queue.offerUnsafe(lines, line))
  return {
    hear: Queue.take(lines),
    ask: Effect.suspend(() => {
      child.stdin.write("\n")
      return Queue.take(lines)
    })
  }
})

interface Usage {
  readonly connections: number
  readonly heap: number
}

const measure = (line: Effect.Effect<string>) => Effect.map(line, (line): Usage => JSON.parse(line))

/** Opens the connections, has each of them served, and says what one costs while all are idle. */
const idleConnections = (kind: "hawser" | "raw") =>
  Effect.scoped(Effect.gen(function*() {
    const server = yield* program(
      "--expose-gc",
      "--import",
      "./test/support/source.ts",
      "test/support/manyConnections.ts",
      kind
    )
    const port = yield* server.hear
    const before = yield* measure(server.ask)
    const clients = yield* program("test/support/manyClients.ts", port, `${count}`)
    assert.strictEqual(yield* clients.hear, "open")
    assert.strictEqual(Number(yield* clients.ask), count)
    const after = yield* measure(server.ask)
    assert.strictEqual(after.connections, count)
    return (after.heap - before.heap) / count
  }))

describe("TcpServer at scale", () => {
  it.live(
    `serves ${many}, all of them open at once, for less than four kilobytes of heap each`,
    () =>
      Effect.gen(function*() {
        const raw = yield* idleConnections("raw")
        const hawser = yield* idleConnections("hawser")
        assert.isBelow(hawser, 4 * 1024, `a connection of node:net takes ${Math.round(raw)} bytes of heap`)
      }),
    240_000
  )
})

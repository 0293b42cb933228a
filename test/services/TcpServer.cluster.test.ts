import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import * as Readline from "node:readline"
import { fileURLToPath } from "node:url"
import * as Dialer from "../../src/services/Dialer.ts"
import type * as TcpServer from "../../src/services/TcpServer.ts"
import { leavesNothing } from "../support/leaks.ts"
import { rawServer, temporaryFolder } from "../support/servers.ts"
import { ask, connect } from "../support/tcpServers.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))

const ended = (child: ChildProcess) =>
  Effect.callback<{ readonly code: number | null; readonly signal: string | null }>((resume) => {
    const done = (code: number | null, signal: string | null) => resume(Effect.succeed({ code, signal }))
    if (child.exitCode !== null || child.signalCode !== null) return done(child.exitCode, child.signalCode)
    child.once("exit", done)
  })

/** A cluster in processes of its own, which are gone with the scope. */
const cluster = Effect.fnUntraced(function*(options: TcpServer.ClusterOptions) {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, ["--import", "./test/support/source.ts", "test/support/clusterServer.ts"], {
        cwd: root,
        env: { ...process.env, CLUSTER_OPTIONS: JSON.stringify(options) },
        stdio: ["ignore", "pipe", "ignore"]
      })
    ),
    (child) =>
      Effect.suspend(() => {
        child.kill("SIGKILL")
        child.stdout?.destroy()
        return ended(child)
      })
  )
  const lines = Readline.createInterface({ input: child.stdout })
  const address = Effect.callback<string>((resume) => {
    lines.once("line", (line: string) => resume(Effect.succeed(line)))
  })
  return { child, address }
})

/** A client that has been told which process serves it. */
const greeted = Effect.fnUntraced(function*(address: string) {
  const client = yield* connect(address.startsWith("/") ? { path: address } : address)
  return { client, pid: Number(yield* client.readLine()) }
})

/** A client that is served by a process that will do; others leave again. */
const servedBy = (
  address: string,
  isIt: (pid: number) => boolean
): Effect.Effect<Effect.Success<ReturnType<typeof greeted>>, unknown, Dialer.Dialer | Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Scope.fork(yield* Effect.scope)
    // node:cluster loses a connection that it hands to a worker in the moment in which that one ends
    const served = yield* Effect.timeoutOption(Scope.provide(greeted(address), scope), "1 second")
    if (Option.isSome(served) && isIt(served.value.pid)) return served.value
    yield* Scope.close(scope, Exit.void)
    return yield* servedBy(address, isIt)
  })

/** Is there a process with this id? */
const isAlive = (pid: number) =>
  Effect.sync(() => {
    try {
      return process.kill(pid, 0)
    } catch {
      return false
    }
  })

const gone = (pid: number): Effect.Effect<void> =>
  Effect.flatMap(isAlive(pid), (alive) => alive ? Effect.andThen(Effect.sleep("20 millis"), gone(pid)) : Effect.void)

const live = (title: string, body: () => Effect.Effect<unknown, unknown, Dialer.Dialer | Scope.Scope>) =>
  it.live(title, () => leavesNothing(Effect.provide(Effect.scoped(body()), Dialer.layer)), 120_000)

describe("TcpServer.layerCluster", () => {
  live(
    "serves from all its workers on one port that the system chose, and not from the primary",
    () =>
      Effect.gen(function*() {
        const { address, child } = yield* cluster({ workers: 3 })
        const at = yield* address
        const seen = new Set<number>()
        // workers get their turns once they listen
        while (seen.size < 3) {
          yield* Effect.scoped(Effect.gen(function*() {
            const { client, pid } = yield* greeted(at)
            assert.strictEqual(yield* ask(client, "hello"), "hello")
            seen.add(pid)
          }))
        }
        assert.isFalse(seen.has(child.pid ?? 0))
      })
  )

  live("starts a worker again that has crashed, while the others go on", () =>
    Effect.gen(function*() {
      const { address } = yield* cluster({ workers: 2 })
      const at = yield* address
      const bystander = yield* greeted(at)
      const victim = yield* servedBy(at, (pid) => pid !== bystander.pid)
      yield* victim.client.write("crash\n")
      yield* Effect.flip(Effect.forever(victim.client.read()))
      assert.strictEqual(yield* ask(bystander.client, "still here"), "still here")
      yield* servedBy(at, (pid) => pid !== bystander.pid && pid !== victim.pid)
    }))

  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    live(
      `drains when it gets ${signal}: no new connections, and what is being answered is finished`,
      () =>
        Effect.gen(function*() {
          const { address, child } = yield* cluster({ workers: 2 })
          const at = yield* address
          const { client, pid } = yield* greeted(at)
          yield* client.write("slow\n")
          assert.strictEqual(
            yield* Effect.scoped(Effect.flatMap(greeted(at), (other) => ask(other.client, "hello"))),
            "hello"
          )
          child.kill(signal)
          // nobody is served once all workers have stopped listening
          const served = Effect.exit(Effect.timeout(Effect.scoped(greeted(at)), "1 second"))
          while (Exit.isSuccess(yield* served)) yield* Effect.sleep("10 millis")
          assert.isTrue(yield* isAlive(pid))
          assert.isNull(child.exitCode)
          yield* client.write("answer\n")
          assert.strictEqual(yield* client.readLine(), "slow answer")
          yield* gone(pid)
          assert.isNull((yield* ended(child)).signal)
        })
    )
  }

  live("takes its workers along when it is killed", () =>
    Effect.gen(function*() {
      const { address, child } = yield* cluster({ workers: 2 })
      const { pid } = yield* greeted(yield* address)
      child.kill("SIGKILL")
      yield* ended(child)
      yield* gone(pid)
    }))

  live("fails in the primary when no worker can listen", () =>
    Effect.gen(function*() {
      const { port } = yield* rawServer()
      const { address, child } = yield* cluster({ port, workers: 2 })
      const never = yield* Effect.forkChild(address)
      assert.strictEqual((yield* ended(child)).code, 1)
      yield* Fiber.interrupt(never)
    }))

  live("listens on a unix socket", () =>
    Effect.gen(function*() {
      const path = `${yield* temporaryFolder}/cluster.sock`
      const { address } = yield* cluster({ path, workers: 2 })
      assert.strictEqual(yield* address, path)
      const { client } = yield* greeted(path)
      assert.strictEqual(yield* ask(client, "hello"), "hello")
    }))
})

/**
 * Real servers to test against: other people's programs, started as child processes on free loopback ports and stopped
 * with the scope. Nothing here is killed that was not started here.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import type * as PlatformError from "effect/PlatformError"
import * as ChildProcess from "effect/process/ChildProcess"
import type { ChildProcessHandle } from "effect/process/ChildProcessSpawner"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Net from "node:net"
import { scopedUnlessFailed } from "../../../src/internal/net/duplex.ts"

/** A peer could not be prepared or started; `output` is the end of what it printed. */
export class PeerError extends Data.TaggedError("PeerError")<{
  readonly peer: string
  readonly detail: string
  readonly output: string
}> {
  override get message(): string {
    return `${this.peer}: ${this.detail}${this.output === "" ? "" : `\n${this.output}`}`
  }
}

/** A program, and the Debian package that brings it. */
export interface Program {
  readonly command: string
  readonly package: string
}

/** What the harness itself needs of the system. */
export const services = NodeServices.layer

const platform = (peer: string, detail: string) => (error: PlatformError.PlatformError) =>
  new PeerError({ peer, detail, output: error.message })

const cannotRun = (program: Program) => (error: PlatformError.PlatformError) =>
  error.reason._tag === "NotFound"
    ? new PeerError({
      peer: program.command,
      detail: `it is not installed; on Debian: apt-get install ${program.package}`,
      output: ""
    })
    : new PeerError({ peer: program.command, detail: "it cannot be run", output: error.message })

/** An empty folder that also the users enter to whom servers drop their privileges. Removed with the scope. */
export const folder = (peer: string) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const path = yield* fs.makeTempDirectoryScoped({ prefix: `hawser-peer-${peer}-` })
    yield* fs.chmod(path, 0o755)
    return path
  }).pipe(Effect.mapError(platform(peer, "no working folder")))

/** Writes the files of a peer: name to content. */
export const files = (directory: string, contents: Readonly<Record<string, string>>) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    yield* Effect.forEach(
      Object.entries(contents),
      ([name, content]) => fs.writeFileString(`${directory}/${name}`, content),
      { discard: true }
    )
  }).pipe(Effect.mapError(platform(directory, "its files cannot be written")))

/** Runs a program to its end and gives what it printed. Fails when its exit code is not 0. */
export const run = (program: Program, args: ReadonlyArray<string>, options: ChildProcess.CommandOptions = {}) =>
  Effect.scoped(Effect.gen(function*() {
    const handle = yield* ChildProcess.make(program.command, args, { stdin: "ignore", ...options })
    const output = yield* Stream.mkString(Stream.decodeText(handle.all))
    const code = yield* handle.exitCode
    return code === 0
      ? output.trimEnd()
      : yield* new PeerError({ peer: program.command, detail: `${args[0] ?? ""} ended with exit code ${code}`, output })
  })).pipe(Effect.catchTag("PlatformError", (error) => Effect.fail(cannotRun(program)(error))))

const portTaken = /address already in use|EADDRINUSE|cannot bind/i

/**
 * Whether this process listens at all of the ports. A connection would not tell: somebody else may have been faster and
 * take it, while the server is still about to end, or goes on with its other ports.
 */
const listens = Effect.fnUntraced(function*(pid: number, ports: ReadonlyArray<number>) {
  const fs = yield* FileSystem.FileSystem
  const read = (path: string) => Effect.orElseSucceed(fs.readFileString(path), () => "")
  const descriptors = yield* Effect.orElseSucceed(fs.readDirectory(`/proc/${pid}/fd`), () => [])
  const links = yield* Effect.forEach(
    descriptors,
    (name) => Effect.orElseSucceed(fs.readLink(`/proc/${pid}/fd/${name}`), () => "")
  )
  const tables = yield* Effect.forEach(["tcp", "tcp6"], (name) => read(`/proc/${pid}/net/${name}`))
  const open = new Set(links)
  const own = new Set<number>()
  for (const line of tables.join("").split("\n")) {
    const [, local, , state, , , , , , inode] = line.trim().split(/\s+/)
    if (state === "0A" && open.has(`socket:[${inode}]`)) own.add(Number.parseInt(local!.split(":")[1]!, 16))
  }
  return ports.every((port) => own.has(port))
})

const listening = Effect.acquireRelease(
  Effect.callback<Net.Server>((resume) => {
    const server = Net.createServer()
    server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
  }),
  (server) => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
)

/** Ports of 127.0.0.1 that were free a moment ago. */
const freePorts = (count: number): Effect.Effect<ReadonlyArray<number>> =>
  Effect.replicateEffect(listening, count).pipe(
    Effect.map((servers) =>
      servers.map((server) => {
        const address = server.address()
        return typeof address === "object" && address !== null ? address.port : 0
      })
    ),
    Effect.scoped
  )

/** How a server is started. */
export interface ServerOptions {
  readonly args: ReadonlyArray<string>
  readonly cwd: string
  /** It is ready when it listens at all of these. */
  readonly ports: ReadonlyArray<number>
  /** Run before the server is told to stop. */
  readonly beforeStop?: ((handle: ChildProcessHandle) => Effect.Effect<void>) | undefined
}

/** A server that runs as long as the scope. SIGTERM stops it, SIGKILL when that takes more than a second. */
export const start = Effect.fnUntraced(function*(program: Program, options: ServerOptions) {
  const fail = (detail: string, output: string) => new PeerError({ peer: program.command, detail, output })
  const handle = yield* Effect.mapError(
    ChildProcess.make(program.command, options.args, {
      cwd: options.cwd,
      stdin: "ignore",
      // in this process's group: the signal goes to the one process that was started
      detached: false,
      forceKillAfter: "1 second"
    }),
    cannotRun(program)
  )
  if (options.beforeStop !== undefined) yield* Effect.addFinalizer(() => options.beforeStop!(handle))

  let output = ""
  const reading = yield* handle.all.pipe(
    Stream.decodeText,
    Stream.runForEach((text) =>
      Effect.sync(() => {
        output = (output + text).slice(-4000)
      })
    ),
    Effect.ignore,
    Effect.forkScoped
  )

  const ready = Effect.gen(function*() {
    if (portTaken.test(output)) return yield* fail("somebody else has its port", output)
    return yield* listens(handle.pid, options.ports)
  }).pipe(
    Effect.repeat({ until: (is) => is, schedule: Schedule.spaced("10 millis") }),
    Effect.timeoutOrElse({ duration: "20 seconds", orElse: () => fail("it does not listen after 20 seconds", output) })
  )
  const died = Effect.gen(function*() {
    const exit = yield* Effect.result(handle.exitCode)
    // what it said last may still be in the pipe, which a process of its own may hold open
    yield* Effect.timeoutOption(Fiber.await(reading), "1 second")
    return yield* fail(`it ended at once (${Result.isSuccess(exit) ? exit.success : "by a signal"})`, output)
  })
  yield* Effect.raceFirst(ready, died)
  return { pid: handle.pid, output: Effect.sync(() => output) }
})

/**
 * Starts what `make` starts on free ports, and again on others when somebody else was faster and took one of them.
 */
export const onFreePorts = <A, R>(
  count: number,
  make: (ports: ReadonlyArray<number>) => Effect.Effect<A, PeerError, R>
): Effect.Effect<A, PeerError, Exclude<R, Scope.Scope> | Scope.Scope> =>
  // one that goes on without its port is stopped before the next try
  Effect.retry(scopedUnlessFailed(Effect.flatMap(freePorts(count), make)), {
    times: 3,
    while: (error) => portTaken.test(error.output)
  })

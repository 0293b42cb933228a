import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as PlatformError from "effect/PlatformError"
import * as ChildProcess from "effect/process/ChildProcess"
import { ChildProcessSpawner } from "effect/process/ChildProcessSpawner"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Sink from "effect/Sink"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Fs from "node:fs"
import * as SshProcessSpawner from "../../src/layers/SshProcessSpawner.ts"
import { leavesNothing } from "../support/leaks.ts"
import { runLocally } from "../support/localShell.ts"
import { networks } from "../support/network.ts"
import { temporaryFolder } from "../support/servers.ts"
import { connected, until } from "../support/ssh.ts"

const remotely = <A, E, R>(effect: Effect.Effect<A, E, R | ChildProcessSpawner | Scope.Scope>) =>
  Effect.gen(function*() {
    const { session } = yield* connected({ otherCommands: runLocally })
    return yield* Effect.provideService(effect, ChildProcessSpawner, SshProcessSpawner.make(session))
  }).pipe(Effect.scoped, Effect.provide(networks["on loopback"]()), leavesNothing)

const textOf = (command: ChildProcess.Command) =>
  Effect.flatMap(ChildProcessSpawner, (spawner) => spawner.string(command))

const isAlive = (pid: number) => {
  try {
    // a process that has ended and waits to be asked for its exit code has no command line
    return Fs.readFileSync(`/proc/${pid}/cmdline`).length > 0
  } catch {
    return false
  }
}

const awkward = ["", "it's", "a b", "$HOME", "*", "\\", "\n", "ä", "-n", "\"", "`id`", "x=y"]

describe("SshProcessSpawner", () => {
  it.live("runs a program with arguments that a shell would understand otherwise", () =>
    remotely(Effect.gen(function*() {
      const text = yield* textOf(ChildProcess.make("printf", ["%s|", ...awkward]))
      assert.strictEqual(text, `${awkward.join("|")}|`)
    })))

  it.live("gives a program its directory", () =>
    remotely(Effect.gen(function*() {
      assert.strictEqual(yield* textOf(ChildProcess.make("pwd", { cwd: "/" })), "/\n")
      const error = yield* Effect.flip(textOf(ChildProcess.make("pwd", { cwd: "/no such directory" })))
      assert.deepInclude(error.reason, { _tag: "NotFound", pathOrDescriptor: "/no such directory" })
    })))

  it.live("says that a program is not there", () =>
    remotely(Effect.gen(function*() {
      const error = yield* Effect.flip(textOf(ChildProcess.make("no-such-program", ["a"])))
      assert.deepInclude(error.reason, { _tag: "NotFound", pathOrDescriptor: "no-such-program" })
    })))

  it.live("replaces the environment, or adds to it and takes from it", () =>
    remotely(Effect.gen(function*() {
      const secret = Redacted.make("a secret")
      const replaced = ChildProcess.make("env", { env: { A: "1", B: secret }, extendEnv: false })
      assert.strictEqual(yield* textOf(replaced), "A=1\nB=a secret\n")
      const added = ChildProcess.make("sh", ["-c", "echo $A ${HOME-none} ${PATH:+path}"], {
        env: { A: "1", HOME: undefined },
        extendEnv: true
      })
      assert.strictEqual(yield* textOf(added), "1 none path\n")
    })))

  it.live("runs a program whose name an environment would take for a variable", () =>
    remotely(Effect.gen(function*() {
      const error = yield* Effect.flip(textOf(ChildProcess.make("a=b", { env: { A: "1" }, extendEnv: true })))
      assert.deepInclude(error.reason, { _tag: "NotFound", pathOrDescriptor: "a=b" })
    })))

  it.live("runs a script in a shell, in one that is named too", () =>
    remotely(Effect.gen(function*() {
      assert.strictEqual(yield* textOf(ChildProcess.make("echo a | tr a b", { shell: true })), "b\n")
      assert.strictEqual(yield* textOf(ChildProcess.make("echo a | tr a c", { shell: "/bin/sh" })), "c\n")
    })))

  it.live("does not run what cannot be run", () =>
    remotely(Effect.gen(function*() {
      const refused = [
        ChildProcess.make("echo", ["a"], { shell: true }),
        ChildProcess.make("echo", ["a\0b"]),
        ChildProcess.make("echo", { env: { "a=b": "c" } }),
        ChildProcess.make("echo", { additionalFds: { fd3: { type: "output" } } }),
        ChildProcess.make("echo", { stdout: "inherit" }),
        ChildProcess.pipeTo(ChildProcess.make("echo"), ChildProcess.make("cat"), { to: "fd3" })
      ]
      for (const command of refused) {
        const error = yield* Effect.flip(textOf(command))
        assert.strictEqual(error.reason._tag, "BadArgument")
      }
    })))

  it.live("gives input, output and error output as streams", () =>
    remotely(Effect.gen(function*() {
      const handle = yield* ChildProcess.make("sh", ["-c", "cat; echo problem >&2; exit 3"])
      assert.isTrue(yield* handle.isRunning)
      yield* Stream.run(Stream.make(Buffer.from("one "), Buffer.from("two")), handle.stdin)
      assert.strictEqual(yield* Stream.mkString(Stream.decodeText(handle.stdout)), "one two")
      assert.strictEqual(yield* Stream.mkString(Stream.decodeText(handle.stderr)), "problem\n")
      assert.strictEqual(yield* handle.exitCode, 3)
      assert.isFalse(yield* handle.isRunning)
    })))

  it.live("feeds a program from a stream, whose failure is that of the program", () =>
    remotely(Effect.gen(function*() {
      const fed = ChildProcess.make("cat", { stdin: Stream.make(Buffer.from("fed")) })
      assert.strictEqual(yield* textOf(fed), "fed")
      const nothing = ChildProcess.make("cat", { stdin: "ignore" })
      assert.strictEqual(yield* textOf(nothing), "")
      const problem = PlatformError.badArgument({ module: "test", method: "read", description: "cannot be read" })
      const broken = yield* ChildProcess.make("cat", { stdin: Stream.fail(problem) })
      assert.strictEqual(yield* Effect.flip(broken.exitCode), problem)
    })))

  it.live("keeps the input of a program open where it is told so", () =>
    remotely(Effect.gen(function*() {
      const stdin = { stream: Stream.make(Buffer.from("a line\n")), endOnDone: false }
      const handle = yield* ChildProcess.make("sh", ["-c", "read line; echo \"$line\"; read more; echo end"], { stdin })
      const first = yield* Stream.runHead(Stream.splitLines(Stream.decodeText(handle.stdout)))
      assert.deepStrictEqual(first, Option.some("a line"))
      assert.isTrue(yield* handle.isRunning)
    })))

  it.live("writes output to sinks and to this program's own output", () =>
    remotely(Effect.gen(function*() {
      const seen: Array<string> = []
      const sink = (name: string) => () =>
        Sink.forEach((text: string | Uint8Array) => Effect.sync(() => void seen.push(name, String(text))))
      const stdio = Stdio.layerTest({ stdout: sink("out"), stderr: sink("err"), stdin: Stream.make(Buffer.from("in")) })
      const command = ChildProcess.make("sh", ["-c", "cat"], { stdin: "inherit", stdout: "inherit", stderr: "inherit" })
      const code = yield* Effect.flatMap(ChildProcessSpawner, (spawner) => spawner.exitCode(command)).pipe(
        Effect.provide(stdio)
      )
      assert.strictEqual(code, 0)
      yield* until(() => seen.length > 0)
      assert.deepEqual(seen, ["out", "in"])
    })))

  it.live("pipes one program into the other", () =>
    remotely(Effect.gen(function*() {
      const command = ChildProcess.make("printf", ["b\\na\\nc\\n"]).pipe(
        ChildProcess.pipeTo(ChildProcess.make("sort")),
        ChildProcess.pipeTo(ChildProcess.make("head", ["-n", "2"]))
      )
      assert.strictEqual(yield* textOf(command), "a\nb\n")
    })))

  it.live("kills a program with all that it started", () =>
    remotely(Effect.gen(function*() {
      const handle = yield* ChildProcess.make("sh", ["-c", "sleep 1000 & echo $!; wait"])
      const child = Option.getOrThrow(yield* Stream.runHead(Stream.splitLines(Stream.decodeText(handle.stdout))))
      // in the middle of starting it has no command line either
      yield* until(() => isAlive(Number(child)))
      yield* handle.kill()
      assert.isFalse(yield* handle.isRunning)
      yield* until(() => !isAlive(handle.pid) && !isAlive(Number(child)))
      const error = yield* Effect.flip(handle.exitCode)
      assert.include(error.message, "SIGTERM")
    })))

  it.live("kills a program that does not listen", () =>
    remotely(Effect.gen(function*() {
      const handle = yield* ChildProcess.make("sh", ["-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"])
      yield* Stream.runHead(handle.stdout)
      yield* handle.kill({ forceKillAfter: "100 millis" })
      assert.include((yield* Effect.flip(handle.exitCode)).message, "SIGKILL")
    })))

  it.live("ends a program with its scope, also one that does not listen", () =>
    remotely(Effect.gen(function*() {
      const pidOf = (command: ChildProcess.Command) => Effect.scoped(Effect.map(command, ({ pid }) => pid))
      const pid = yield* pidOf(ChildProcess.make("sleep", ["1000"]))
      assert.isFalse(isAlive(pid))
      const stubborn = yield* pidOf(ChildProcess.make("trap '' TERM; while :; do sleep 0.1; done", {
        shell: true,
        forceKillAfter: "50 millis"
      }))
      yield* until(() => !isAlive(stubborn))
    })))

  it.live("leaves a program alone that nobody refers to any more", () =>
    remotely(Effect.gen(function*() {
      const told = `${yield* temporaryFolder}/told`
      const { pid } = yield* Effect.scoped(Effect.gen(function*() {
        const script = `trap 'touch ${told}' TERM; echo ready; while :; do sleep 0.05; done`
        const handle = yield* ChildProcess.make(script, { shell: true })
        yield* Stream.runHead(handle.stdout)
        // nobody will want to refer to it again
        yield* Effect.asVoid(handle.unref)
        return handle
      }))
      // its channel is closed, and this server kills what has no channel
      yield* until(() => !isAlive(pid))
      assert.isFalse(Fs.existsSync(told))
    })))

  it.live("fails when the session is lost", () =>
    Effect.gen(function*() {
      const { server, session } = yield* connected({ otherCommands: runLocally })
      const spawner = SshProcessSpawner.make(session)
      const handle = yield* spawner.spawn(ChildProcess.make("sleep", ["1000"]))
      yield* server.kill
      assert.include((yield* Effect.flip(handle.exitCode)).message, "the SSH connection is gone")
    }).pipe(Effect.scoped, Effect.provide(networks["on loopback"]()), leavesNothing))
})

import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ChildProcess from "effect/process/ChildProcess"
import { ChildProcessSpawner } from "effect/process/ChildProcessSpawner"
import * as Stream from "effect/Stream"
import * as SshProcessSpawner from "../../src/layers/SshProcessSpawner.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import { OpenSsh, sshSettings } from "./support/openssh.ts"

const spawner = Layer.unwrap(Effect.map(sshSettings(), SshProcessSpawner.layer)).pipe(Layer.provide(Dialer.layer))
const peers = spawner.pipe(Layer.provideMerge(OpenSsh.layer))

const awkward = ["", "it's", "a b", "$HOME", "*", "\\", "\n", "ä", "-n", "\"", "`id`", "x=y", "!", "a;b"]

layer(peers, { excludeTestServices: true, timeout: "60 seconds" })("processes over OpenSSH", (it) => {
  it.effect("run as the user, with arguments that come as they are", () =>
    Effect.gen(function*() {
      const { home, username } = yield* OpenSsh
      const spawner = yield* ChildProcessSpawner
      assert.strictEqual(yield* spawner.string(ChildProcess.make("id", ["-un"])), `${username}\n`)
      assert.strictEqual(
        yield* spawner.string(ChildProcess.make("printf", ["%s|", ...awkward])),
        `${awkward.join("|")}|`
      )
      assert.strictEqual(yield* spawner.string(ChildProcess.make("pwd")), `${home}\n`)
    }))

  it.effect("are not found where they are not", () =>
    Effect.gen(function*() {
      const spawner = yield* ChildProcessSpawner
      const reason = (command: ChildProcess.Command) =>
        Effect.map(Effect.flip(spawner.exitCode(command)), ({ reason }) => reason)
      assert.deepInclude(yield* reason(ChildProcess.make("no-such-program")), { _tag: "NotFound" })
      assert.deepInclude(yield* reason(ChildProcess.make("true", { cwd: "/no/such" })), { _tag: "NotFound" })
      assert.deepInclude(yield* reason(ChildProcess.make("true", { cwd: "/root" })), { _tag: "NotFound" })
    }))

  it.effect("are killed with what they started, where signals over the channel are not allowed too", () =>
    Effect.gen(function*() {
      const spawner = yield* ChildProcessSpawner
      const handle = yield* ChildProcess.make("sh", ["-c", "sleep 1000 & echo $!; wait"])
      const child = yield* handle.stdout.pipe(Stream.decodeText, Stream.splitLines, Stream.take(1), Stream.mkString)
      // one that has ended and that nobody has asked for its exit code has no command line any more
      const isAlive = (pid: number | string) =>
        Effect.map(
          spawner.exitCode(ChildProcess.make("grep", ["-q", ".", `/proc/${pid}/cmdline`])),
          (code) => code === 0
        )
      assert.isTrue(yield* isAlive(handle.pid))
      yield* handle.kill({ forceKillAfter: "5 seconds" })
      assert.include((yield* Effect.flip(handle.exitCode)).message, "SIGTERM")
      yield* Effect.repeat(isAlive(handle.pid), { while: (is) => is })
      yield* Effect.repeat(isAlive(child), { while: (is) => is })
    }))

  it.effect("are piped into each other", () =>
    Effect.gen(function*() {
      const spawner = yield* ChildProcessSpawner
      const command = ChildProcess.pipeTo(ChildProcess.make("seq", ["1", "100000"]), ChildProcess.make("wc", ["-l"]))
      assert.strictEqual((yield* spawner.string(command)).trim(), "100000")
    }))
})

import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { DialError } from "../../src/errors/DialError.ts"
import { SshError } from "../../src/errors/SshError.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import type { CommandResult, ExitStatus, SshProcess } from "../../src/services/SshProcess.ts"
import type * as SshSettings from "../../src/services/SshSettings.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import * as TestPeers from "../../src/testing/TestPeers.ts"
import { between, seeded } from "../support/cases.ts"
import { type CutKind, cutting } from "../support/cut.ts"

/** Bytes that are different everywhere: what is missing, twice or in the wrong place is seen. */
const bytesOf = (seed: number, size: number): Buffer => {
  const bytes = Buffer.alloc(size)
  for (let i = 0, state = seed; i < size; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0
    bytes[i] = state >>> 24
  }
  return bytes
}

const most = 400_000
const outputBytes = bytesOf(1, most)
const errorBytes = bytesOf(2, most)
const inputBytes = bytesOf(3, most)

const Size = Schema.Literals([0, 1, 20, 1000, 32_768, 40_000, 70_000])

/** What a command writes, how it ends, and what it is given to read. */
const Command = Schema.Struct({
  writes: Schema.Array(Schema.Struct({ error: Schema.Boolean, size: Size })).check(Schema.isMaxLength(5)),
  end: Schema.Literals([0, 1, 255, "TERM", "KILL"]),
  input: Size,
  readsInput: Schema.Boolean
})

/** How the connection is cut, if it is, and where; how it is broken into pieces; and how a silent server is given up. */
const Trouble = Schema.Struct({
  kind: Schema.Literals(["none", "reset", "end", "corrupt", "silent"]),
  toServer: Schema.Boolean,
  at: between(0, 999),
  latency: Schema.Literals([0, 0, 0, 10]),
  fragment: Schema.Literals([65_536, 4096, 700, 100]),
  patience: Schema.Literals(["keepAlive", "timeout", "both"])
})

/** About how many bytes go either way before the command runs. */
const setup = { toServer: 1900, toClient: 1700 }

const sizes = (command: typeof Command.Type) => {
  const size = (error: boolean) =>
    command.writes.reduce((sum, write) => write.error === error ? sum + write.size : sum, 0)
  return { output: size(false), error: size(true) }
}

/** Half of all cuts come before the command runs, the others from then on to a bit behind the end. */
const offsetOf = ({ at, toServer }: typeof Trouble.Type, command: typeof Command.Type) => {
  const before = toServer ? setup.toServer : setup.toClient
  const { error, output } = sizes(command)
  const after = (toServer ? command.input : output + error) * 1.05 + 400
  return Math.floor(at <= 500 ? at / 500 * before : before + (at - 500) / 500 * after)
}

/** Does what the command line says, and fails the test where input was cut short and looks as if it had ended. */
const run = Effect.fnUntraced(function*({ command, stderr, stdin, stdout }: TestPeers.SshCommand) {
  const { end, input, readsInput, writes }: typeof Command.Type = JSON.parse(command)
  if (readsInput) {
    const read = Buffer.concat(yield* Stream.runCollect(stdin))
    if (!read.equals(inputBytes.subarray(0, input))) return 99
  }
  let [output, error] = [0, 0]
  for (const write of writes) {
    if (write.error) yield* stderr(errorBytes.subarray(error, error += write.size))
    else yield* stdout(outputBytes.subarray(output, output += write.size))
  }
  return typeof end === "number" ? end : { signal: end }
})

const assertEnded = ({ exitCode, signal }: ExitStatus, { end }: typeof Command.Type) => {
  if (typeof end === "number") assert.deepStrictEqual([exitCode, signal], [Option.some(end), Option.none()])
  else assert.deepStrictEqual([exitCode, signal], [Option.none(), Option.some(`SIG${end}`)])
}

const assertComplete = (result: CommandResult, command: typeof Command.Type) => {
  const { error, output } = sizes(command)
  const { stderr, stdout } = result
  assert.isTrue(outputBytes.subarray(0, output).equals(stdout), `${stdout.length} of ${output} bytes of the output`)
  assert.isTrue(errorBytes.subarray(0, error).equals(stderr), `${stderr.length} of ${error} bytes of the error output`)
  assertEnded(result, command)
}

/** What may go wrong where a connection is cut. */
const reasons: Readonly<Record<CutKind, ReadonlyArray<string>>> = {
  reset: ["HandshakeFailed", "ConnectionLost"],
  end: ["HandshakeFailed", "ConnectionLost"],
  silent: ["HandshakeTimeout", "ConnectionLost", "CommandTimeout"],
  corrupt: ["HandshakeFailed", "HandshakeTimeout", "HostKeyRejected", "Unsupported", "ConnectionLost", "CommandTimeout"]
}

/** Fails the test for errors that say something else than what has happened. */
const assertCut = (error: SshError | DialError | TestNetwork.Stalled, kind: CutKind | "none", wasCut: boolean) => {
  assert(error instanceof SshError, error.message)
  assert(kind !== "none" && wasCut, `failed without a cut: ${error.message}`)
  assert.include(reasons[kind], error.reason._tag)
  // only what was changed on its way may look as if it would not help
  if (kind !== "corrupt" && error.reason._tag !== "CommandTimeout") assert.isTrue(error.isRetryable, error.message)
}

/** Runs a program that talks to a server over a connection that is cut, and gives how it ended. */
const overCut = Effect.fnUntraced(function*<A, E>(
  command: typeof Command.Type,
  trouble: typeof Trouble.Type,
  program: (ssh: Ssh.Ssh["Service"], settings: SshSettings.SshSettings) => Effect.Effect<A, E>
) {
  const network = yield* TestNetwork.TestNetwork
  const server = yield* TestPeers.sshServer({ password: Redacted.make("correct horse"), exec: run })
  const cut = trouble.kind === "none"
    ? undefined
    : cutting(trouble.kind, trouble.toServer, offsetOf(trouble, command))
  const ssh = Ssh.make(yield* Dialer.Dialer)
  const settings = { ...server.settings, ...(trouble.patience === "timeout" ? { keepAlive: false as const } : {}) }
  const result = yield* Effect.scoped(Effect.gen(function*() {
    if (cut !== undefined) yield* network.rule(cut.rule)
    return yield* Effect.result(network.run(program(ssh, settings)))
  }))
  for (const { command, status } of yield* server.commands) {
    assert.notDeepEqual(status, { _tag: "Exited", code: 99 }, `took a part of its input for all: ${command}`)
  }
  const open = yield* network.connections
  assert.deepStrictEqual(open.filter(({ open }) => open.includes("client")), [])
  return { result, wasCut: cut?.happened() === true }
})

/** Talks to a command by its streams, and says how each of them ended. */
const streamed = (
  { closed, stderr, stdin, stdout }: SshProcess,
  { input }: typeof Command.Type,
  got: { output: Buffer; error: Buffer }
) => {
  const read = (stream: typeof stdout, name: "output" | "error") =>
    Stream.runForEach(stream, (bytes) => Effect.sync(() => void (got[name] = Buffer.concat([got[name], bytes]))))
  return Effect.all({
    input: Effect.result(Stream.run(Stream.make(inputBytes.subarray(0, input)), stdin)),
    output: Effect.result(read(stdout, "output")),
    error: Effect.result(read(stderr, "error")),
    closed: Effect.result(closed)
  }, { concurrency: "unbounded" })
}

const onNetwork = ({ fragment, latency }: typeof Trouble.Type) => TestNetwork.layer({ defaults: { fragment, latency } })

const patienceOf = ({ patience }: typeof Trouble.Type) => patience === "keepAlive" ? undefined : "1 minute"

describe("SSH commands", () => {
  it.effect.prop(
    "give all of their output and how they ended, or a typed error, wherever the connection is cut",
    { command: Command, trouble: Trouble },
    ({ command, trouble }) =>
      Effect.gen(function*() {
        const { result, wasCut } = yield* overCut(command, trouble, (ssh, settings) =>
          ssh.execute(settings, JSON.stringify(command), {
            stdin: inputBytes.subarray(0, command.input),
            timeout: patienceOf(trouble)
          }))
        if (Result.isFailure(result)) {
          assertCut(result.failure, trouble.kind, wasCut)
        } else assertComplete(result.success, command)
      }).pipe(Effect.scoped, Effect.provide(onNetwork(trouble))),
    seeded(1000)
  )

  it.effect.prop(
    "that are running give the first bytes of each output, and an end only after all of them, wherever the connection is cut",
    { command: Command, trouble: Trouble },
    ({ command, trouble }) =>
      Effect.gen(function*() {
        const got = { output: Buffer.alloc(0), error: Buffer.alloc(0) }
        const { result, wasCut } = yield* overCut(command, trouble, (ssh, settings) =>
          ssh.connect(settings).pipe(
            Effect.flatMap((session) => session.exec(JSON.stringify(command))),
            Effect.flatMap((process) => streamed(process, command, got)),
            Effect.scoped,
            Effect.timeoutOption(patienceOf(trouble) ?? Infinity)
          ))
        assert.isTrue(outputBytes.subarray(0, got.output.length).equals(got.output))
        assert.isTrue(errorBytes.subarray(0, got.error.length).equals(got.error))
        if (Result.isFailure(result)) assertCut(result.failure, trouble.kind, wasCut)
        else if (Option.isNone(result.success)) assert.isTrue(wasCut)
        else {
          const { closed, error, input, output } = result.success.value
          for (const outcome of [Result.map(closed, () => {}), error, input, output]) {
            if (Result.isFailure(outcome)) assertCut(outcome.failure, trouble.kind, wasCut)
          }
          const all = sizes(command)
          if (Result.isSuccess(output)) assert.strictEqual(got.output.length, all.output)
          if (Result.isSuccess(error)) assert.strictEqual(got.error.length, all.error)
          if (Result.isSuccess(closed)) {
            assertEnded(closed.success, command)
            assert.isTrue(Result.isSuccess(output) && Result.isSuccess(error))
          }
        }
      }).pipe(Effect.scoped, Effect.provide(onNetwork(trouble))),
    seeded(1000)
  )

  it.effect("that get a changed packet fail with words that say so, whatever the cipher", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const server = yield* TestPeers.sshServer({ exec: () => outputBytes })
      const ssh = Ssh.make(yield* Dialer.Dialer)
      yield* network.rule(cutting("corrupt", false, 50_000).rule)
      for (const cipher of ["aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes128-ctr"]) {
        const settings = { ...server.settings, algorithms: { cipher: [cipher] } }
        const error = yield* Effect.flip(network.run(ssh.execute(settings, "print")))
        assert.include(error.message, "the SSH connection is gone: a packet was changed on its way", cipher)
      }
    }).pipe(Effect.scoped, Effect.provide(TestNetwork.layer())))
})

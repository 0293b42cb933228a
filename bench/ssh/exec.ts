/** Running `true` on a connection that is kept, one after the other and eight at a time, and on one that is opened for it. */
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { Ssh, type SshProcess } from "hawser"
import type { Address, Benchmark, Client, Pair, Round, Suite } from "../harness/benchmark.ts"
import { sum } from "../tcp/peers/ask.ts"
import { repeat } from "../tcp/transfer.ts"
import * as Hawser from "./hawser.ts"
import * as OpenSsh from "./openSshClient.ts"
import * as Ssh2 from "./ssh2.ts"

const command = "true"

/** As many workers as are wanted, each of which does something again and again. */
const inParallel = async (concurrency: number, round: Round, again: (worker: number) => Promise<number>) =>
  sum(await Promise.all(Array.from({ length: concurrency }, (_, worker) => repeat(round, () => again(worker)))))

const succeeded = (round: Round, exitCode: number | null | undefined): number => {
  if (exitCode !== 0) throw new Error(`${command} ended with ${exitCode}`)
  round.seen?.(String(exitCode))
  return 1
}

const check = (round: Round) => ({ exitCode }: SshProcess.CommandResult) =>
  succeeded(round, exitCode._tag === "Some" ? exitCode.value : undefined)

const hawser = (concurrency: number) => async (address: Address): Promise<Client> => {
  const session = await Hawser.openSession(address)
  return (round) => {
    const many = Effect.gen(function*() {
      let done = 0
      do {
        done += check(round)(yield* session.execute(command))
      } while (done < round.limit && !round.over)
      return done
    })
    return Effect.runPromise(
      Effect.map(Effect.all(Array.from({ length: concurrency }, () => many), { concurrency: "unbounded" }), sum)
    )
  }
}

const ssh2 = (concurrency: number) => async (address: Address): Promise<Client> => {
  const client = await Ssh2.connect(Ssh2.settingsOf(address))
  return (round) =>
    inParallel(concurrency, round, async () => succeeded(round, await Ssh2.execute(client, command, () => {})))
}

const openssh = (concurrency: number) => async (address: Address): Promise<Client> => {
  const options = await OpenSsh.shared(address)
  const shells = Array.from({ length: concurrency }, OpenSsh.shell)
  return (round) =>
    inParallel(concurrency, round, async (worker) => {
      await shells[worker]?.run(`ssh ${options} bench ${command} </dev/null`)
      return succeeded(round, 0)
    })
}

const hawserConnect = (address: Address): Client => {
  const runtime = ManagedRuntime.make(Hawser.layer)
  const settings = Hawser.settingsOf(address)
  const execute = Ssh.Ssh.use((ssh) => ssh.execute(settings, command))
  return (round) => repeat(round, () => runtime.runPromise(execute).then(check(round)))
}

const ssh2Connect = (address: Address): Client => {
  const settings = Ssh2.settingsOf(address)
  return (round) =>
    repeat(round, async () => {
      const client = await Ssh2.connect(settings)
      const exitCode = await Ssh2.execute(client, command, () => {})
      client.end()
      return succeeded(round, exitCode)
    })
}

const opensshConnect = (host: string) => (address: Address): Client => {
  const { run } = OpenSsh.shell()
  return (round) =>
    repeat(round, async () => {
      await run(`ssh ${OpenSsh.alone(address)} ${host} ${command} </dev/null`)
      return succeeded(round, 0)
    })
}

const pairs: ReadonlyArray<Pair> = [
  { contender: "hawser", baseline: "ssh2", atLeast: 0.95 },
  { contender: "hawser", baseline: "openssh", atLeast: 2.5 }
]

const kept = (concurrency: number): Benchmark => ({
  name: `exec c=${concurrency}`,
  unit: "commands",
  checkLimit: 5,
  measures: "client",
  peer: new URL("peers/server.ts", import.meta.url),
  contenders: { hawser: hawser(concurrency), ssh2: ssh2(concurrency), openssh: openssh(concurrency) },
  pairs
})

const suite: Suite = {
  url: import.meta.url,
  benchmarks: [
    kept(1),
    kept(8),
    {
      name: "connect exec",
      unit: "connections",
      checkLimit: 3,
      measures: "client",
      peer: new URL("peers/servers.ts", import.meta.url),
      contenders: {
        "hawser": hawserConnect,
        "ssh2": ssh2Connect,
        "openssh": opensshConnect("bench"),
        "openssh-defaults": opensshConnect("defaults")
      },
      pairs: [
        { contender: "hawser", baseline: "ssh2", atLeast: 0.95 },
        { contender: "hawser", baseline: "openssh", atLeast: 2 },
        { contender: "hawser", baseline: "openssh-defaults" }
      ]
    }
  ]
}

export default suite

/** Receiving as much as goes over one connection: a command's output, and a TCP connection through a tunnel. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Stream from "effect/Stream"
import { Dialer, SshTunnel, TcpClient } from "hawser"
import { spawn } from "node:child_process"
import type { Address, Client, Round, Suite } from "../harness/benchmark.ts"
import { byStream, repeat } from "../tcp/transfer.ts"
import { folderOf } from "./account.ts"
import * as Hawser from "./hawser.ts"
import * as OpenSsh from "./openSshClient.ts"
import * as Ssh2 from "./ssh2.ts"

const mebibyte = 1024 * 1024

/** Writes 512 MiB. */
const commandOf = (address: Address) => `cat ${folderOf(address)}/big ${folderOf(address)}/big`

const written = 512

const hawserOutput = async (address: Address): Promise<Client> => {
  const session = await Hawser.openSession(address)
  return (round) => {
    const receive = Effect.flatMap(session.exec(commandOf(address)), ({ stdout }) =>
      Effect.suspend(() => {
        let size = 0
        return stdout.pipe(
          Stream.runForEachArray((pieces) =>
            Effect.sync(() => {
              for (const bytes of pieces) {
                size += bytes.length
                round.seen?.(bytes)
              }
            })
          ),
          Effect.map(() => size / mebibyte)
        )
      }))
    return repeat(round, () => Effect.runPromise(Effect.scoped(receive)))
  }
}

const ssh2Output = async (address: Address): Promise<Client> => {
  const client = await Ssh2.connect(Ssh2.settingsOf(address))
  return (round) =>
    repeat(round, async () => {
      let size = 0
      await Ssh2.execute(client, commandOf(address), (bytes) => {
        size += bytes.length
        round.seen?.(bytes)
      })
      return size / mebibyte
    })
}

/** Has somebody look at what a command of the shell writes. */
const lookAt = (command: string, seen: NonNullable<Round["seen"]>): Promise<number> =>
  new Promise((resolve, reject) => {
    let size = 0
    const child = spawn("sh", ["-c", command], { stdio: ["ignore", "pipe", "inherit", "pipe"] })
    child.stdout?.on("data", (bytes) => {
      size += bytes.length
      seen(bytes)
    })
    child.on("error", reject).on("close", () => resolve(size / mebibyte))
  })

/** `ssh` that writes to what throws it away (which is the fastest), or to a program that counts. */
const opensshOutput = (counted: boolean) => async (address: Address): Promise<Client> => {
  const command = `ssh ${await OpenSsh.shared(address)} bench '${commandOf(address)}' </dev/null`
  const { run } = OpenSsh.shell()
  return (round) =>
    repeat(round, async () => {
      if (round.seen !== undefined) return lookAt(command, round.seen)
      if (counted) return Number(await run(`${command} | wc -c`)) / mebibyte
      await run(`${command} >/dev/null`)
      return written
    })
}

const hawserTunnel = (address: Address): Client => {
  const runtime = ManagedRuntime.make(
    TcpClient.layer.pipe(
      Layer.provide(SshTunnel.layer(Hawser.settingsOf(address))),
      Layer.provide(Dialer.layer)
    )
  )
  const target = { host: "127.0.0.1", port: address.port }
  return (round) =>
    repeat(round, () =>
      runtime.runPromise(
        TcpClient.TcpClient.use((tcp) => tcp.connect(target)).pipe(
          Effect.flatMap((connection) => byStream(connection, round.seen)),
          Effect.map((size) => size / mebibyte),
          Effect.scoped
        )
      ))
}

const ssh2Tunnel = async (address: Address): Promise<Client> => {
  const client = await Ssh2.connect(Ssh2.settingsOf(address))
  return (round) =>
    repeat(round, () =>
      new Promise((resolve, reject) => {
        client.forwardOut("127.0.0.1", 0, "127.0.0.1", address.port, (error, channel) => {
          if (error !== undefined) return reject(error)
          let size = 0
          channel
            .on("data", (bytes: Buffer) => {
              size += bytes.length
              round.seen?.(bytes)
            })
            .on("end", () => {
              channel.end()
              resolve(size / mebibyte)
            })
        })
      }))
}

/** Ours does not end, which would end the tunnel. */
const opensshTunnel = async (address: Address): Promise<Client> => {
  const command = `ssh ${await OpenSsh.shared(address)} -W 127.0.0.1:${address.port} bench <&3`
  const { run } = OpenSsh.shell()
  return (round) =>
    repeat(round, async () =>
      round.seen === undefined
        ? Number(await run(`${command} | wc -c`)) / mebibyte
        : lookAt(command, round.seen))
}

const suite: Suite = {
  url: import.meta.url,
  benchmarks: [
    {
      name: "stdout",
      unit: "MiB",
      checkLimit: 1,
      rounds: 12,
      measures: "client",
      peer: new URL("peers/bigFile.ts", import.meta.url),
      contenders: {
        "hawser": hawserOutput,
        "ssh2": ssh2Output,
        "openssh": opensshOutput(false),
        "openssh-piped": opensshOutput(true)
      },
      pairs: [
        { contender: "hawser", baseline: "ssh2", atLeast: 0.95 },
        { contender: "hawser", baseline: "openssh", atLeast: 1.1 },
        { contender: "hawser", baseline: "openssh-piped" }
      ]
    },
    {
      name: "tunnel",
      unit: "MiB",
      checkLimit: 1,
      rounds: 12,
      measures: "client",
      peer: new URL("peers/tunnelled.ts", import.meta.url),
      contenders: { hawser: hawserTunnel, ssh2: ssh2Tunnel, openssh: opensshTunnel },
      pairs: [
        { contender: "hawser", baseline: "openssh", atLeast: 0.9 },
        { contender: "hawser", baseline: "ssh2" }
      ]
    }
  ]
}

export default suite

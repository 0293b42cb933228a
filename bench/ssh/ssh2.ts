/** ssh2 as an expert uses it: with TCP_NODELAY, which it leaves off, and the host's key checked. */
import { readFileSync } from "node:fs"
import Ssh2 from "ssh2"
import type { Address } from "../harness/benchmark.ts"
import { hostKeyOf, keyOf, portOf, username } from "./account.ts"

/** What a connection takes, with the files read once. */
export const settingsOf = (address: Address): Ssh2.ConnectConfig => {
  const hostKey = hostKeyOf(address)
  return {
    host: "127.0.0.1",
    port: portOf(address),
    username,
    privateKey: readFileSync(keyOf(address)),
    hostVerifier: (key: Buffer) => key.equals(hostKey)
  }
}

export const connect = (settings: Ssh2.ConnectConfig): Promise<Ssh2.Client> =>
  new Promise((resolve, reject) => {
    const client = new Ssh2.Client()
    client
      .on("connect", () => client.setNoDelay(true))
      .on("ready", () => resolve(client))
      .on("error", reject)
      .connect(settings)
  })

/** Runs a command to its end; `onData` gets what it writes. */
export const execute = (
  client: Ssh2.Client,
  command: string,
  onData: (bytes: Buffer) => void
): Promise<number | null> =>
  new Promise((resolve, reject) => {
    client.exec(command, (error, channel) => {
      if (error !== undefined) return reject(error)
      channel.stderr.resume()
      channel.on("data", onData).on("close", resolve)
    })
  })

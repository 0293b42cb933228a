import type { Duplex } from "node:stream"

/** What a server offers, by kind; the last three for what we send and for what it sends (RFC 4253, section 7.1). */
export interface ServerOffer {
  readonly keyExchange: ReadonlyArray<string>
  readonly hostKey: ReadonlyArray<string>
  readonly cipher: readonly [toServer: ReadonlyArray<string>, toClient: ReadonlyArray<string>]
  readonly mac: readonly [toServer: ReadonlyArray<string>, toClient: ReadonlyArray<string>]
  readonly compression: readonly [toServer: ReadonlyArray<string>, toClient: ReadonlyArray<string>]
}

const KEXINIT = 20
/** Length, padding length, message number and cookie come before the lists. */
const firstList = 4 + 1 + 1 + 16
const maxPreamble = 128 * 1024

/** Names in a list of key exchanges that are none but say what a side can do. */
const isAlgorithm = (name: string) => name !== "" && !/^(kex-strict|ext-info)-/.test(name)

/** Where the first packet begins: behind the identification, which other lines may come before. */
const afterIdentification = (bytes: Buffer): number | undefined => {
  for (let at = 0;;) {
    const end = bytes.indexOf("\n", at)
    if (end < 0) return undefined
    if (bytes.subarray(at, at + 4).toString("latin1") === "SSH-") return end + 1
    at = end + 1
  }
}

/** The server's identification and its offer, `undefined` while they are not complete. */
const parse = (bytes: Buffer): ServerOffer | "something else" | undefined => {
  const start = afterIdentification(bytes)
  if (start === undefined || bytes.length < start + firstList) return undefined
  const packet = bytes.subarray(start)
  if (packet[5] !== KEXINIT) return "something else"
  if (packet.length < 4 + packet.readUInt32BE(0)) return undefined
  let at = firstList
  const list = (): ReadonlyArray<string> => {
    if (at + 4 > packet.length) return []
    const length = packet.readUInt32BE(at)
    const names = packet.toString("latin1", at + 4, at + 4 + length)
    at += 4 + length
    return names.split(",").filter(isAlgorithm)
  }
  return {
    keyExchange: list(),
    hostKey: list(),
    cipher: [list(), list()],
    mac: [list(), list()],
    compression: [list(), list()]
  }
}

/**
 * Reads along what a server offers, which comes before everything is encrypted: ssh2 says no more than that there is nothing
 * in common. Nothing may have come yet.
 */
export const watch = (duplex: Duplex): () => ServerOffer | undefined => {
  let bytes = Buffer.alloc(0)
  let offer: ReturnType<typeof parse>
  const onData = (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk])
    offer = parse(bytes)
    if (offer === undefined && bytes.length < maxPreamble) return
    duplex.off("data", onData)
    bytes = Buffer.alloc(0)
  }
  // before ssh2, which gives up in the moment that it reads it
  duplex.prependListener("data", onData)
  return () => typeof offer === "object" ? offer : undefined
}

/**
 * How the packets of a session come to ssh2 without memory of their own: whole, in the memory that the socket was read into,
 * which the next read overwrites. ssh2 decrypts them where they are; what it keeps is copied for it.
 *
 * ssh2 puts a packet together that comes in several pieces, in memory that it allocates for it, and nearly each packet of a
 * transfer does. To allocate and to collect that memory costs as much as to decrypt it.
 *
 * This knows private parts of ssh2, as `protocol.ts` does. Where one of them is not as it should be, nothing is lent.
 */
import type { Duplex } from "node:stream"
import type { Client } from "ssh2"
import { copyOf, type DirectReads, directReads, type ReadSink } from "../net/directReads.ts"

/** Decrypts AES-GCM with ssh2's native part: the one that works in place, and with lengths that are not encrypted. */
interface Decipher {
  _onPayload: (payload: Buffer) => unknown
  /** How much has come of a packet's length, of its content and of its tag. */
  readonly _lenBytes: number
  readonly _pktLen: number
  readonly _tagPos: number
}

interface Protocol {
  _onPayload: (payload: Buffer) => unknown
  readonly _decipher: unknown
}

type Channels = Readonly<Record<number, object | undefined>>

const get = (of: unknown, name: string): unknown =>
  typeof of === "object" && of !== null ? Reflect.get(of, name) : undefined

const isDecipher = (value: unknown): value is Decipher =>
  ["_lenBytes", "_pktLen", "_tagPos"].every((name) => typeof get(value, name) === "number") &&
  typeof get(value, "_onPayload") === "function" && typeof get(get(value, "_instance"), "decrypt") === "function"

const isProtocol = (value: unknown): value is Protocol => typeof get(value, "_onPayload") === "function"

const isChannels = (value: unknown): value is Channels => typeof value === "object" && value !== null

const frugal = Symbol("hawser/frugal")

/** Says that whoever takes what a channel brings copies what they keep of it. */
export const mayLend = (channel: object): void => void Reflect.set(channel, frugal, true)

const isFrugal = (channel: object | undefined) => channel !== undefined && Reflect.get(channel, frugal) === true

let lent = false

/** Whether what ssh2 is handing over now is in memory that is about to be overwritten. */
export const isLent = (): boolean => lent

const CHANNEL_DATA = 94
const CHANNEL_EXTENDED_DATA = 95

/** A packet's length, its content, and the tag of AES-GCM; more than ssh2 takes is for ssh2 to complain of. */
const sizeAt = (bytes: Buffer, at: number) => 4 + bytes.readUInt32BE(at) + 16
const maxSize = 35_000

/** Hands a session's packets to ssh2 one by one, each whole. */
class WholePackets implements ReadSink {
  private readonly duplex: Duplex
  private readonly reads: DirectReads
  private readonly protocol: Protocol
  private readonly channels: Channels
  private readonly onPayload: (payload: Buffer) => unknown
  private decipher: unknown
  private readonly partial = Buffer.allocUnsafeSlow(maxSize)
  private filled = 0
  private lending = false

  constructor(duplex: Duplex, reads: DirectReads, protocol: Protocol, decipher: Decipher, channels: Channels) {
    this.duplex = duplex
    this.reads = reads
    this.protocol = protocol
    this.decipher = decipher
    this.channels = channels
    const take = protocol._onPayload
    this.onPayload = (payload) => {
      if (!this.lending) return take(payload)
      if (!this.isForFrugal(payload)) return take(copyOf(payload))
      lent = true
      try {
        return take(payload)
      } finally {
        lent = false
      }
    }
    protocol._onPayload = this.onPayload
    decipher._onPayload = this.onPayload
  }

  private isForFrugal(payload: Buffer): boolean {
    if (payload[0] !== CHANNEL_DATA && payload[0] !== CHANNEL_EXTENDED_DATA) return false
    return payload.length > 5 && isFrugal(this.channels[payload.readUInt32BE(1)])
  }

  receive(bytes: Buffer): boolean {
    let at = 0
    while (at < bytes.length && !this.duplex.destroyed) {
      if (!this.isUnderstood()) return this.duplex.emit("data", copyOf(bytes.subarray(at)))
      at = this.filled > 0 ? this.complete(bytes, at) : this.next(bytes, at)
    }
    return true
  }

  /** New keys may come with another cipher, whose packets begin elsewhere. */
  private isUnderstood(): boolean {
    const { _decipher } = this.protocol
    if (_decipher === this.decipher) return true
    this.decipher = _decipher
    if (isDecipher(_decipher)) return true
    this.reads.sink = undefined
    this.reads.keeps = true
    return false
  }

  /** Hands over the packet that begins here, or keeps what there is of it. */
  private next(bytes: Buffer, at: number): number {
    const left = bytes.length - at
    const size = left < 4 ? maxSize : sizeAt(bytes, at)
    if (size <= left) return this.give(bytes.subarray(at, at + size), at + size)
    if (size > maxSize) return this.give(bytes.subarray(at), bytes.length)
    this.filled = bytes.copy(this.partial, 0, at)
    return bytes.length
  }

  /** Goes on with a packet of which the beginning came before. */
  private complete(bytes: Buffer, from: number): number {
    const { partial } = this
    let at = from
    while (this.filled < 4 && at < bytes.length) partial[this.filled++] = bytes[at++]!
    if (this.filled < 4) return at
    const size = sizeAt(partial, 0)
    const missing = Math.min(size, maxSize) - this.filled
    const copied = bytes.copy(partial, this.filled, at, at + missing)
    this.filled += copied
    if (copied < missing) return at + copied
    const { filled } = this
    this.filled = 0
    return this.give(partial.subarray(0, filled), at + copied)
  }

  private give(packet: Buffer, end: number): number {
    // while keys are exchanged ssh2 takes packets in another way, and keeps them
    const { _decipher } = this.protocol
    this.lending = get(_decipher, "_onPayload") === this.onPayload
    this.duplex.emit("data", this.lending ? packet : copyOf(packet))
    this.lending = false
    return end
  }
}

/** Lends a session's packets to ssh2 from the next one on, where both the socket and the cipher allow it. */
export const lend = (client: Client, duplex: Duplex): void => {
  const reads = directReads(duplex)
  const protocol = get(client, "_protocol")
  const channels = get(get(client, "_chanMgr"), "_channels")
  if (reads === undefined || !isProtocol(protocol) || !isChannels(channels)) return
  const begin = (): void => {
    const { _decipher } = protocol
    if (!isDecipher(_decipher)) return void duplex.off("data", begin)
    const isBetween = _decipher._lenBytes === 0 && _decipher._pktLen === 0 && _decipher._tagPos === 0
    if (!isBetween || _decipher._onPayload !== protocol._onPayload || duplex.readableLength > 0) return
    duplex.off("data", begin)
    reads.sink = new WholePackets(duplex, reads, protocol, _decipher, channels)
    reads.keeps = false
  }
  duplex.on("data", begin)
  begin()
}

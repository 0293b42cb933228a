import type * as Clock from "effect/Clock"
import type { Duplex } from "node:stream"
import type { Client } from "ssh2"
import { KeepAlive, type KeepAliveSettings } from "../net/keepAlive.ts"
import { stopwatch } from "../net/realTime.ts"
import * as Protocol from "./protocol.ts"

/** When a session gets new keys, and how often its server is asked whether it is still there. */
export interface UpkeepOptions {
  /** After how many bytes in both directions together. */
  readonly rekeyBytes: number
  /** After how many milliseconds, as soon as something passes. */
  readonly rekeyMillis: number
  readonly keepAlive: KeepAliveSettings | undefined
}

/**
 * Stands by the stream of a session. Counts what passes, has the two sides agree on new keys in time, which ssh2 never does
 * by itself, and asks the server now and then whether it is still there, which ssh2 does in real time only.
 */
export class Upkeep {
  received = 0
  sent = 0
  private readonly client: Client
  private readonly duplex: Duplex
  private readonly options: UpkeepOptions
  private ready = false
  private keysAt = 0
  private keysSince: number
  private readonly clock: Clock.Clock
  private readonly now: () => number

  constructor(client: Client, duplex: Duplex, clock: Clock.Clock, options: UpkeepOptions) {
    this.client = client
    this.duplex = duplex
    this.options = options
    this.clock = clock
    this.now = stopwatch(clock)
    this.keysSince = this.now()
    client.on("handshake", () => this.keysAreNew())
    const write: (chunk: Uint8Array, ...rest: Array<any>) => boolean = duplex.write.bind(duplex)
    duplex.write = (chunk: Uint8Array, ...rest: Array<any>) => {
      this.sent += chunk.length
      // a packet may be written in pieces, and nothing must come between them
      if (this.needsKeys()) queueMicrotask(this.renewKeys)
      return write(chunk, ...rest)
    }
  }

  /** Hears what comes. */
  listen(duplex: Duplex): void {
    duplex.on("data", (chunk: Uint8Array) => {
      this.received += chunk.length
      this.onReceived()
    })
  }

  /** From now on, not while the two sides still get to know each other. Until what this gives is called, a silent server is dead. */
  start(dead: () => void): () => void {
    this.ready = true
    const { client, clock, duplex, options: { keepAlive } } = this
    if (keepAlive === undefined) return () => {}
    return new KeepAlive(keepAlive, clock).watch({
      isInUse: () => true,
      received: () => this.received,
      ping: (answered) => {
        if (duplex.writable) Protocol.ping(client, answered)
      },
      dead
    })
  }

  private keysAreNew(): void {
    this.keysAt = this.received + this.sent
    this.keysSince = this.now()
  }

  private needsKeys(): boolean {
    return this.ready && this.received + this.sent - this.keysAt >= this.options.rekeyBytes
  }

  private get isDue(): boolean {
    return this.needsKeys() || this.now() - this.keysSince >= this.options.rekeyMillis
  }

  private readonly renewKeys = (): void => {
    // several writes may have asked for it
    if (!this.isDue) return
    this.keysAreNew()
    Protocol.rekey(this.client)
  }

  private onReceived(): void {
    if (this.ready && this.isDue) this.renewKeys()
  }
}

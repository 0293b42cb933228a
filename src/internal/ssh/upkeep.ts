import type { Duplex } from "node:stream"
import type { Client } from "ssh2"
import * as Protocol from "./protocol.ts"

/** When a session gets new keys, and how often its server is asked whether it is still there. */
export interface UpkeepOptions {
  /** After how many bytes in both directions together. */
  readonly rekeyBytes: number
  /** After how many milliseconds, as soon as something passes. */
  readonly rekeyMillis: number
  /** 0 does not ask. */
  readonly keepAliveMillis: number
}

/**
 * Stands by the stream of a session. Counts what passes, has the two sides agree on new keys in time, which ssh2 never does
 * by itself, and tells ssh2 that a server which sends is still there: its answers may be queued behind what it sends.
 */
export class Upkeep {
  received = 0
  sent = 0
  private readonly client: Client
  private readonly options: UpkeepOptions
  private ready = false
  private keysAt = 0
  private keysSince = performance.now()
  private heardAt = performance.now()

  constructor(client: Client, duplex: Duplex, options: UpkeepOptions) {
    this.client = client
    this.options = options
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

  /** From now on, not while the two sides still get to know each other. */
  start(): void {
    this.ready = true
    this.heardAt = performance.now()
  }

  private keysAreNew(): void {
    this.keysAt = this.received + this.sent
    this.keysSince = performance.now()
  }

  private needsKeys(): boolean {
    return this.ready && this.received + this.sent - this.keysAt >= this.options.rekeyBytes
  }

  private isDue(now: number): boolean {
    return this.needsKeys() || now - this.keysSince >= this.options.rekeyMillis
  }

  private readonly renewKeys = (): void => {
    // several writes may have asked for it
    if (!this.isDue(performance.now())) return
    this.keysAreNew()
    Protocol.rekey(this.client)
  }

  private onReceived(): void {
    if (!this.ready) return
    const now = performance.now()
    if (this.isDue(now)) this.renewKeys()
    const { keepAliveMillis } = this.options
    if (keepAliveMillis === 0 || now - this.heardAt < keepAliveMillis / 2) return
    this.heardAt = now
    Protocol.heard(this.client)
  }
}

import type { AcceptConnection, RejectConnection } from "ssh2"
import { guardErrors } from "../../net/owner.ts"
import type { Waiting } from "../../net/waiting.ts"
import { ChannelDuplex } from "../channel/duplex.ts"
import type { Connection } from "../connection.ts"
import { isChannel } from "../protocol.ts"

/** The ends of a connection that was made to the server, named as a `net.Socket` names its own. */
interface Ends {
  readonly localAddress?: string
  readonly localPort?: number
  readonly remoteAddress?: string
  readonly remotePort?: number
}

/** How the server calls an address that it listens on for us: in the words in which it was asked to. */
export const keyOf = (host: string, port: number): string => `${host}:${port}`

/**
 * Connections that were made to the server and that it passes on. It passes on all of a session's the same way: this finds
 * out who listens, and refuses what nobody does. ssh2 would keep that waiting for ever.
 */
export class Arrivals {
  private readonly waiting = new Map<string, Waiting>()
  private readonly connection: Connection

  constructor(connection: Connection) {
    this.connection = connection
    connection.client
      .on("tcp connection", ({ destIP, destPort, srcIP, srcPort }, accept, reject) => {
        const ends = { localAddress: destIP, localPort: destPort, remoteAddress: srcIP, remotePort: srcPort }
        this.arrive(keyOf(destIP, destPort), ends, accept, reject)
      })
      .on("unix connection", ({ socketPath }, accept, reject) => this.arrive(socketPath, {}, accept, reject))
    connection.onLost(() => {
      for (const waiting of this.waiting.values()) waiting.close()
    })
  }

  private arrive(key: string, ends: Ends, accept: AcceptConnection, reject: RejectConnection): void {
    const waiting = this.waiting.get(key)
    if (waiting?.hasRoom !== true) return reject()
    const channel = accept()
    if (!isChannel(channel)) return channel.close()
    const duplex = guardErrors(new ChannelDuplex(this.connection, channel))
    waiting.offer(Object.assign(duplex, ends))
  }

  has(key: string): boolean {
    return this.waiting.has(key)
  }

  add(key: string, waiting: Waiting): void {
    this.waiting.set(key, waiting)
  }

  remove(key: string): void {
    this.waiting.get(key)?.close()
    this.waiting.delete(key)
  }
}

import * as Net from "node:net"
import type { Duplex } from "node:stream"

/**
 * Takes what a socket has read and says whether to go on reading. `lent` bytes are in memory that the next read of any
 * socket overwrites.
 */
export interface ReadSink {
  readonly receive: (bytes: Buffer, lent: boolean) => boolean
}

const size = 64 * 1024

/** What a socket in the middle of something large reads into: measured, mostly at half the cost of 64 KiB. */
const ownSize = 32 * 1024

/**
 * All sockets read into this memory: Node hands over each read before it begins another. Not so on Windows, where a read
 * is given its memory before there is anything to read.
 */
const shared = Buffer.allocUnsafeSlow(size)

const shareable = process.platform !== "win32"

/** A copy that is worth keeping: small ones come from a pool. */
export const copyOf = (bytes: Uint8Array): Buffer => {
  const copy = Buffer.allocUnsafe(bytes.length)
  copy.set(bytes)
  return copy
}

/**
 * Reading a socket without going through its stream. Node's own way gives each read 64 KiB of memory and an event; with
 * `onread` the memory is ours. Small reads share one buffer and are copied out of it. A socket that fills the buffer is
 * in the middle of something large: it gets a buffer for each read and nothing is copied.
 *
 * Without a sink it behaves as any other socket: the bytes go into its stream.
 */
export class DirectReads {
  sink: ReadSink | undefined
  /** Whether the sink keeps what it is given, so that memory of its own is worth having. */
  keeps = true
  /** How large that memory is. */
  ownSize = ownSize
  private buffer = shared

  /** For `onread`: what to read into from now on. */
  readonly nextBuffer = (): Buffer => this.buffer

  /** For `onread`: the first `count` bytes of the buffer have been read. Says whether to go on reading. */
  deliver(socket: Net.Socket, count: number): boolean {
    const { buffer } = this
    const lent = buffer === shared
    const bytes = buffer.subarray(0, count)
    this.buffer = count === buffer.length && this.keeps ? Buffer.allocUnsafeSlow(this.ownSize) : shared
    // little in a large buffer of its own would hold all of it
    const given = lent || count > this.ownSize / 2 ? bytes : copyOf(bytes)
    if (this.sink !== undefined) return this.sink.receive(given, lent)
    return socket.push(lent ? copyOf(given) : given)
  }
}

const direct = Symbol("hawser/direct")

interface Direct {
  [direct]?: DirectReads
}

/** How to read a stream directly, when it is a socket that we opened. */
export const directReads = (duplex: Duplex & Direct): DirectReads | undefined => duplex[direct]

/** Opens a socket that can be read directly. */
export const open = (options: Net.NetConnectOpts): Net.Socket => {
  if (!shareable) return Net.connect(options)
  const reads = new DirectReads()
  const socket: Net.Socket & Direct = Net.connect({
    ...options,
    onread: { buffer: reads.nextBuffer, callback: (count) => reads.deliver(socket, count) }
  })
  socket[direct] = reads
  return socket
}

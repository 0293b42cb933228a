/** What clients and servers of the small-message benchmarks say to each other: 64 bytes that end with a line feed. */

export const size = 64

const message = (text: string) => Buffer.from(`${text.padEnd(size - 1, ".")}\n`)

const getZero = message("0 get")
const getOne = message("1 get")
const gotZero = message("2 get")
const gotOne = message("3 get")

/** The answer to a request, of which the first byte is enough. */
export const answerTo = (request: Uint8Array): Buffer => (request[0] ?? 0) % 2 === 0 ? gotZero : gotOne

/** Makes the answer of a request that begins at a byte of a chunk. */
export const answerInPlace = (chunk: Buffer, at: number): void => {
  chunk[at]! += 2
}

/** Requests that take turns. */
export const requestAt = (index: number): Buffer => index % 2 === 0 ? getZero : getOne

export const lineFeed = 0x0a

/** Effect's sockets give bytes, which are a `Buffer`, or text. */
const asBuffer = (chunk: Uint8Array | string): Buffer => Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk)

/** What is left of a message that has not arrived completely, and what it becomes with the next chunk. */
export class Partial {
  private left: Buffer | undefined

  /** The chunk with what was left before it. */
  take(chunk: Uint8Array | string): Buffer {
    if (this.left === undefined) return asBuffer(chunk)
    const whole = Buffer.concat([this.left, asBuffer(chunk)])
    this.left = undefined
    return whole
  }
  keep(rest: Buffer): void {
    this.left = rest
  }
}

/** The options of every raw client socket: those that Hawser uses. */
export const clientOptions = { host: "127.0.0.1", noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 }

/** The options of every raw server. */
export const serverOptions = { noDelay: true }

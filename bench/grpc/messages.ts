/** What is sent, and how what came is looked at. */
import type { Round } from "../harness/benchmark.ts"

const payload = new Uint8Array(100).map((_, at) => at)

/** A message of 100 bytes and a little, of a stream or on its own. */
export const messageAt = (index: number) => ({ id: `message ${index % 10}`, seq: index, payload })

/** The same where 64-bit numbers are bigint. */
export const bigMessageAt = (index: number) => ({ ...messageAt(index), seq: BigInt(index) })

/** A message, whatever it was decoded by; called by name, the type of its fields is not known. */
export interface Received {
  readonly id?: unknown
  readonly seq?: unknown
  readonly payload?: unknown
}

/** Messages of one stream: long enough that its beginning and its end do not count for much. */
export const streamLength = 5000

/** Counts messages that come and shows them when answers are compared. */
export class Tally {
  private readonly round: Round
  private messages = 0
  private bytes = 0

  constructor(round: Round) {
    this.round = round
  }
  add({ id, payload, seq }: Received): void {
    if (!(payload instanceof Uint8Array)) throw new Error("the payload is missing")
    this.messages++
    this.bytes += payload.length
    const { seen } = this.round
    if (seen !== undefined) {
      seen(String(id))
      seen(String(seq))
      seen(payload)
    }
  }
  /** How many they were, of a number that must have come. */
  total(expected: number): number {
    if (this.messages !== expected || this.bytes !== expected * payload.length) {
      throw new Error(`${this.messages} messages of ${this.bytes} bytes came instead of ${expected}`)
    }
    return expected
  }
}

/** The messages of one stream. They are made when they are asked for, and not closed when that stops for a while. */
export const messages = <A>(at: (index: number) => A): Iterable<A> => {
  let index = 0
  const iterator = {
    next: (): IteratorResult<A> =>
      index < streamLength ? { done: false, value: at(index++) } : { done: true, value: undefined }
  }
  return { [Symbol.iterator]: () => iterator }
}

/** How many messages the server has counted, which must be all of them. */
export const checkSummary = (
  { bytes, count }: { readonly count?: unknown; readonly bytes?: unknown },
  { seen }: Round
): number => {
  if (count !== streamLength) throw new Error(`the server counted ${String(count)} messages instead of ${streamLength}`)
  seen?.(String(bytes))
  return streamLength
}

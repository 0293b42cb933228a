import * as Effect from "effect/Effect"
import { Duplex } from "node:stream"

/** Lets everything that Node has queued for this turn of its loop happen. */
export const turn = Effect.callback<void>((resume) => {
  setImmediate(() => resume(Effect.void))
})

/** A stream whose other end is the test: it pushes what arrives and sees what was written. */
export class ScriptedDuplex extends Duplex {
  readonly written: Array<Buffer> = []
  /** While set, writes are taken but not completed. */
  stalled = false
  private readonly pending: Array<() => void> = []

  constructor() {
    super({ allowHalfOpen: true, highWaterMark: 16 })
  }
  arrive(data: string | Uint8Array) {
    this.push(typeof data === "string" ? Buffer.from(data) : data)
  }
  endInput() {
    this.push(null)
  }
  unstall() {
    this.stalled = false
    for (const complete of this.pending.splice(0)) complete()
  }
  get sent() {
    return Buffer.concat(this.written).toString("latin1")
  }
  override _read() {}
  override _write(chunk: Buffer, _encoding: string, callback: () => void) {
    this.written.push(chunk)
    if (this.stalled) this.pending.push(callback)
    else callback()
  }
}

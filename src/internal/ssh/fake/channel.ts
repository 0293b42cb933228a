import * as Effect from "effect/Effect"
import type { Readable } from "node:stream"
import { FakeDuplex } from "../../fakes/duplex.ts"
import type { CommandStream } from "../testServer/command.ts"
import type { Ending } from "../testServer/model.ts"

type ExitArguments = readonly [code: number | null, signal?: string, dump?: boolean, description?: string]

const exitOf = (ending: Ending): ExitArguments | undefined => {
  if (ending === undefined) return undefined
  return "code" in ending ? [ending.code] : [null, ending.signal, ending.coreDumped, ending.description]
}

/** What a client says to a command besides its input. */
export interface Listener {
  readonly onSignal: (name: string) => void
  readonly onResize: (columns: number, rows: number) => void
  /** The client has closed the channel. */
  readonly onClose: () => void
}

/** The client's end of a channel that no SSH carries, with what ssh2 documents of its own. */
export class FakeClientChannel extends FakeDuplex {
  readonly type = "session"
  readonly stderr: Readable
  private readonly listener: Listener
  private exit: ExitArguments | undefined
  private open = true

  /** Both ends of one channel. */
  static ends(listener: Listener): readonly [FakeClientChannel, FakeCommandStream] {
    const [stderr, errorOutput] = FakeDuplex.pair()
    return FakeDuplex.join(new FakeClientChannel(listener, stderr), new FakeCommandStream(errorOutput))
  }

  private constructor(listener: Listener, stderr: FakeDuplex) {
    // `close` says how the command ended, and comes when both outputs have been read
    super({ emitClose: false, autoDestroy: false })
    this.listener = listener
    this.stderr = stderr
    let outputs = 2
    const ended = () => {
      outputs--
      if (outputs === 0) this.release()
    }
    this.once("end", ended)
    stderr.once("end", ended)
  }

  /** How the command ended. */
  exited(ending: Ending): void {
    this.exit = exitOf(ending)
    if (this.exit !== undefined && this.open) this.emit("exit", ...this.exit)
  }

  eof(): void {
    this.end()
  }

  signal(name: string): void {
    this.tell(() => this.listener.onSignal(name))
  }

  setWindow(rows: number, columns: number): void {
    this.tell(() => this.listener.onResize(columns, rows))
  }

  close(): void {
    if (!this.open) return
    this.destroy()
    this.stderr.destroy()
    this.tell(this.listener.onClose)
    this.release()
  }

  private release(): void {
    if (!this.open) return
    this.open = false
    this.tell(() => this.emit("close", ...(this.exit ?? [])))
  }
}

/** The command's end of it. */
export class FakeCommandStream extends FakeDuplex implements CommandStream {
  private readonly errorOutput: FakeDuplex

  constructor(errorOutput: FakeDuplex) {
    super()
    this.errorOutput = errorOutput
  }

  output(bytes: Uint8Array, isError: boolean): Effect.Effect<void> {
    const stream = isError ? this.errorOutput : this
    return Effect.callback((resume) => void stream.write(bytes, () => resume(Effect.void)))
  }

  finish(ending: Ending): Effect.Effect<void> {
    return Effect.sync(() => {
      this.tell(() => {
        if (this.peer instanceof FakeClientChannel) this.peer.exited(ending)
      })
      this.end()
      this.errorOutput.end()
      // what nobody reads is dropped
      this.resume()
    })
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.errorOutput.destroy()
    super._destroy(error, done)
  }
}

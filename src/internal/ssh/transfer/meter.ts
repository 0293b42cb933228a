import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import type { TransferFailure, TransferProgress, TransferSummary } from "./options.ts"

/** Counts what a transfer does, for its summary and for those who watch. */
export class Meter {
  path = ""
  files = 0
  totalFiles = 0
  directories = 0
  links = 0
  skipped = 0
  bytes = 0
  transferred = 0
  total = 0
  readonly failures: Array<TransferFailure> = []
  /** Grows with every change. */
  version = 0
  private watcher: (() => void) | undefined

  /** A file was found. */
  found(size: number): void {
    this.totalFiles++
    this.total += Math.max(0, size)
  }

  /** Bytes of a file were copied. */
  moved(path: string, bytes: number): void {
    this.path = path
    this.bytes += bytes
    this.transferred += bytes
    // files grow while they are copied, and some do not say how long they are
    if (this.transferred > this.total) this.total = this.transferred
    this.changed()
  }

  /** Bytes of a file were there already. */
  resumed(bytes: number): void {
    this.transferred += bytes
    this.changed()
  }

  /** A file was copied. */
  copied(): void {
    this.files++
    this.changed()
  }

  /** A link was made. */
  linked(): void {
    this.links++
    this.changed()
  }

  /** A file is left as it is. */
  left(size: number): void {
    this.skipped++
    this.resumed(Math.max(0, size))
  }

  /** Something was done that is not bytes. */
  changed(): void {
    this.version++
    this.watcher?.()
  }

  /** Calls back whenever something has changed. */
  watch(notify: (() => void) | undefined): void {
    this.watcher = notify
  }

  summary(): TransferSummary {
    const { bytes, directories, failures, files, links, skipped } = this
    return { files, directories, links, skipped, bytes, failures: [...failures] }
  }

  progress(done: boolean): TransferProgress {
    const { path, total, totalFiles, transferred } = this
    return { ...this.summary(), path, transferred, total, totalFiles, done }
  }
}

/**
 * A transfer as a stream of how far it is, which is done while the stream is run. Who is slow to look sees fewer reports,
 * and holds nothing up.
 */
export const watched = <E, R>(
  transfer: (meter: Meter) => Effect.Effect<unknown, E, R>
): Stream.Stream<TransferProgress, E, R> =>
  Stream.unwrap(Effect.gen(function*() {
    const meter = new Meter()
    const fiber = yield* Effect.forkScoped(transfer(meter), { startImmediately: true })
    let seen = -1
    let done = false
    const changed = Effect.callback<void>((resume) => {
      const notify = () => resume(Effect.void)
      if (meter.version !== seen) return notify()
      meter.watch(notify)
      const forget = fiber.addObserver(notify)
      return Effect.sync(() => {
        meter.watch(undefined)
        forget()
      })
    })
    return Stream.fromPull(Effect.succeed(Effect.gen(function*() {
      if (done) return yield* Cause.done()
      if (fiber.pollUnsafe() === undefined) yield* changed
      seen = meter.version
      if (fiber.pollUnsafe() !== undefined) {
        yield* Fiber.join(fiber)
        done = true
      }
      return Arr.of(meter.progress(done))
    })))
  }))

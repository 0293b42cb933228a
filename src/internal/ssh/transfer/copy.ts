import * as Effect from "effect/Effect"
import { copyFile, sourceOf } from "./file.ts"
import { find } from "./files.ts"
import type { TransferFailure, TransferSummary } from "./options.ts"
import { copyTree, type TreeJob } from "./tree.ts"

/** Copies a file, or a folder with all that is in it. */
export const copy = Effect.fnUntraced(
  function*<E1 extends TransferFailure["error"], E2 extends TransferFailure["error"]>(
    job: TreeJob<E1, E2>,
    source: string,
    target: string
  ): Effect.fn.Return<TransferSummary, E1 | E2 | TransferFailure["error"]> {
    const { from, meter, to } = job
    const attributes = yield* from.stat(source)
    if (attributes.type === "Directory") {
      yield* copyTree(job, { source, target, attributes })
    } else {
      const there = yield* find(to, target)
      meter.found(attributes.size)
      yield* copyFile(job, sourceOf(from, source, attributes), { files: to, path: target, relative: "", there })
    }
    return meter.summary()
  }
)

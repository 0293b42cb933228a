import type { TransferOptions } from "./options.ts"

/** Options with their defaults. */
export interface Settings {
  readonly filter: TransferOptions["filter"]
  readonly symlinks: "copy" | "follow" | "skip"
  readonly preserve: boolean
  readonly overwrite: "always" | "never" | "newer" | "different"
  readonly resume: boolean
  readonly atomic: boolean
  readonly fsync: boolean
  readonly verify: TransferOptions["verify"]
  readonly concurrency: number
  readonly collect: boolean
}

/** How many files are on their way at once. */
const files = 32

export const settingsOf = (options: TransferOptions = {}): Settings => {
  const resume = options.resume ?? false
  return {
    filter: options.filter,
    symlinks: options.symlinks ?? "copy",
    preserve: options.preserve ?? false,
    overwrite: options.overwrite ?? "always",
    resume,
    atomic: options.atomic ?? !resume,
    fsync: options.fsync ?? false,
    verify: options.verify,
    concurrency: Math.max(1, options.concurrency ?? files),
    collect: options.onError === "collect"
  }
}

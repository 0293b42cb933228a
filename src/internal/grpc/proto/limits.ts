import * as Effect from "effect/Effect"
import { GrpcSchemaError, TooLarge } from "../../../errors/GrpcSchemaError.ts"

/** How much is taken from others who may mean no good. */
export interface Limits {
  /** The largest file, in bytes. Default 1 MiB. */
  readonly maxFileSize?: number | undefined
  /** All files together, in bytes. Default 16 MiB. */
  readonly maxTotalSize?: number | undefined
  /** How many files. Default 1000. */
  readonly maxFiles?: number | undefined
}

/** Counts what has been taken. */
export class Quota {
  readonly maxFileSize: number
  private readonly maxTotalSize: number
  private readonly maxFiles: number
  private size = 0
  private files = 0

  constructor({ maxFileSize = 1024 * 1024, maxFiles = 1000, maxTotalSize = 16 * 1024 * 1024 }: Limits) {
    this.maxFileSize = maxFileSize
    this.maxTotalSize = maxTotalSize
    this.maxFiles = maxFiles
  }

  /** One more file is about to come. */
  file(file: string): Effect.Effect<void, GrpcSchemaError> {
    return ++this.files > this.maxFiles ? tooLarge(file, this.maxFiles, "files") : Effect.void
  }

  /** A file came. */
  bytes(file: string, size: number): Effect.Effect<void, GrpcSchemaError> {
    if (size > this.maxFileSize) return this.tooLarge(file)
    this.size += size
    return this.size > this.maxTotalSize ? tooLarge(file, this.maxTotalSize, "bytes in all") : Effect.void
  }

  /** A file is more than one may be. */
  tooLarge(file: string): Effect.Effect<never, GrpcSchemaError> {
    return tooLarge(file, this.maxFileSize, "bytes in a file")
  }
}

const tooLarge = (file: string, limit: number, of: TooLarge["of"]) =>
  Effect.fail(new GrpcSchemaError({ reason: new TooLarge({ file, limit, of }) }))

import type { Fields } from "../codec/fields.ts"

/** How callers see a well-known type, where that is not as its message. */
export interface Form {
  /** What a caller gives, as the fields of the message. What is wrong with them is found when they are written. */
  readonly toFields: (given: unknown, depth: number) => unknown
  /** The fields of a message that was read, as callers get it. */
  readonly fromFields: (fields: Fields, depth: number) => unknown
  /** Whether what callers see is always an object, and can be a whole request or response. */
  readonly isObject: boolean
  /** Whether the fields of the message are names that callers know, and belong into the path of an error. */
  readonly showsFields: boolean
  readonly takesNull: boolean
  /** Whether one that comes twice for the same field is merged, or the second takes the place of the first. */
  readonly merges: boolean
}

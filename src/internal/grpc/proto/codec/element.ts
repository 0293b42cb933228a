import type protobuf from "protobufjs"

/** The wire types of what fields hold: varint, 64 bits, length-delimited, group, 32 bits. */
export type WireType = 0 | 1 | 2 | 3 | 5

/**
 * One value of a field, an item of a list or a value of a map: between what callers see and the wire, without the tag. Its
 * methods take what its own `check` and `get` gave.
 */
export interface Element {
  readonly wireType: WireType
  /** For error messages: `"int32"`, `"a message (acme.Order)"`. */
  readonly name: string
  /** Throws a `Problem` when the value does not fit; else gives it in the form that `put` takes. */
  readonly check: (value: unknown) => unknown
  /** Whether a checked value is the one that is not sent when a field has no presence. */
  isDefault(checked: unknown): boolean
  put(writer: protobuf.Writer, checked: unknown, depth: number): void
  /**
   * Reads one value. `undefined` when there was one that does not count: a number that a closed enum does not have.
   * `previous` is what came before for the same field, which a message is merged with.
   */
  readonly get: (reader: protobuf.Reader, depth: number, previous: unknown) => unknown
  /** Reads a packed list, where protobufjs has a faster way than one value after the other. */
  getAll?(reader: protobuf.Reader, items: Array<unknown>): void
  /** What stands for a value that did not come. */
  readonly absent: () => unknown
  /** Whether null is a value, and not the absence of one. */
  readonly takesNull: boolean
}

/** What stands for the tag that ends a group where none does. */
export const noGroup = -1

/** How deep messages may lie in each other, as in every other implementation. */
export const maxDepth = 100

/**
 * Lets `reader` read no further than the length that comes next says. Gives the end that it had before, which is set again
 * when all is read.
 */
export const narrow = (reader: protobuf.Reader): number => {
  const size = reader.size()
  const outer = reader.len
  if (reader.pos + size > outer) throw new RangeError(`${size} bytes announced, ${outer - reader.pos} there`)
  reader.len = reader.pos + size
  return outer
}

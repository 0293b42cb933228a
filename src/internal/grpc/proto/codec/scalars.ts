/// <reference lib="es2024.string" />
import type protobuf from "protobufjs"
import { copyOf } from "./bytes.ts"
import type { Element, WireType } from "./element.ts"
import * as Int64 from "./int64.ts"
import { kindOf, valueOf, wrong } from "./problem.ts"

interface Scalar<A> {
  readonly wireType: WireType
  readonly check: (value: unknown) => A
  readonly isDefault: (checked: A) => boolean
  readonly put: (writer: protobuf.Writer, checked: A) => void
  readonly get: (reader: protobuf.Reader) => unknown
  getAll?(reader: protobuf.Reader, items: Array<A>): void
  readonly absent: unknown
}

const scalar = <A>(name: string, { absent, ...of }: Scalar<A>): Element => ({
  ...of,
  name,
  absent: () => absent,
  takesNull: false
})

/** A whole number, exact in whichever way it is given. */
export const integerOf = (value: unknown): bigint | undefined => {
  if (typeof value === "bigint") return value
  if (typeof value === "number") return Number.isSafeInteger(value) ? BigInt(value) : undefined
  return typeof value === "string" && /^-?\d{1,20}$/.test(value) ? BigInt(value) : undefined
}

/** Takes what is exact, as a number where that can hold it and as a bigint where not. */
const integer = (name: string, min: bigint, max: bigint) => (value: unknown): number | bigint => {
  const exact = integerOf(value)
  if (exact === undefined) throw wrong(`a whole number (${name}); a bigint when it is above 2^53`, valueOf(value))
  if (exact < min || exact > max) throw wrong(`between ${min} and ${max} (${name})`, String(exact))
  const number = Number(exact)
  return Number.isSafeInteger(number) ? number : exact
}

const int32Check = (name: string) => {
  const check = integer(name, -(2n ** 31n), 2n ** 31n - 1n)
  return (value: unknown): number => typeof value === "number" && (value | 0) === value ? value : Number(check(value))
}

const uint32Check = (name: string) => {
  const check = integer(name, 0n, 2n ** 32n - 1n)
  return (value: unknown): number => typeof value === "number" && (value >>> 0) === value ? value : Number(check(value))
}

/** The usual: a bigint that a number holds. */
const small = (value: unknown, min: number): number | undefined => {
  if (typeof value !== "bigint" && typeof value !== "number") return undefined
  const number = Number(value)
  return Number.isSafeInteger(number) && number >= min ? number : undefined
}

const int64Check = (name: string) => {
  const check = integer(name, -(2n ** 63n), 2n ** 63n - 1n)
  return (value: unknown): number | bigint => small(value, Number.MIN_SAFE_INTEGER) ?? check(value)
}

const uint64Check = (name: string) => {
  const check = integer(name, 0n, 2n ** 64n - 1n)
  return (value: unknown): number | bigint => small(value, 0) ?? check(value)
}

const isZero = (checked: number | bigint): boolean => checked === 0
const isPositiveZero = (checked: number | bigint): boolean => Object.is(checked, 0)

/** The numbers that a number holds. */
const number = (name: string, of: Omit<Scalar<number>, "absent" | "isDefault">, isDefault = isZero) =>
  scalar<number>(name, { ...of, isDefault, absent: 0 })

/** The numbers that take a bigint. */
const long = (name: string, of: Omit<Scalar<number | bigint>, "absent" | "isDefault">) =>
  scalar<number | bigint>(name, { ...of, isDefault: isZero, absent: 0n })

const maxFloat = 3.4028234663852886e38

const realCheck = (name: string, max: number) => (value: unknown): number => {
  if (typeof value !== "number") throw wrong(`a number (${name})`, kindOf(value))
  if (Number.isFinite(value) && Math.abs(value) > max) throw wrong(`at most ${max} (${name})`, String(value))
  return value
}

const textCheck = (value: unknown): string => {
  if (typeof value !== "string") throw wrong("a string", kindOf(value))
  // half a surrogate pair is no text: UTF-8 would turn it into another character
  if (!value.isWellFormed()) throw wrong("text that UTF-8 can hold", "a string with half a surrogate pair")
  return value
}

const text = (get: (reader: protobuf.Reader) => string) =>
  scalar<string>("a string", {
    wireType: 2,
    check: textCheck,
    isDefault: (checked) => checked === "",
    put: (writer, checked) => writer.string(checked),
    get,
    absent: ""
  })

const verified = text((reader) => reader.stringVerify())
const lenient = text((reader) => reader.string())

const scalars: { readonly [type: string]: Element } = {
  int32: number("int32", {
    wireType: 0,
    check: int32Check("int32"),
    put: (writer, checked) => writer.int32(checked),
    get: (reader) => reader.int32(),
    getAll: (reader, items) => void reader.int32s(items)
  }),
  sint32: number("sint32", {
    wireType: 0,
    check: int32Check("sint32"),
    put: (writer, checked) => writer.sint32(checked),
    get: (reader) => reader.sint32(),
    getAll: (reader, items) => void reader.sint32s(items)
  }),
  sfixed32: number("sfixed32", {
    wireType: 5,
    check: int32Check("sfixed32"),
    put: (writer, checked) => writer.sfixed32(checked),
    get: (reader) => reader.sfixed32(),
    getAll: (reader, items) => void reader.sfixed32s(items)
  }),
  uint32: number("uint32", {
    wireType: 0,
    check: uint32Check("uint32"),
    put: (writer, checked) => writer.uint32(checked),
    get: (reader) => reader.uint32(),
    getAll: (reader, items) => void reader.uint32s(items)
  }),
  fixed32: number("fixed32", {
    wireType: 5,
    check: uint32Check("fixed32"),
    put: (writer, checked) => writer.fixed32(checked),
    get: (reader) => reader.fixed32(),
    getAll: (reader, items) => void reader.fixed32s(items)
  }),
  int64: long("int64", { wireType: 0, check: int64Check("int64"), put: Int64.writeVarint64, get: Int64.readInt64 }),
  sint64: long("sint64", { wireType: 0, check: int64Check("sint64"), put: Int64.writeSint64, get: Int64.readSint64 }),
  sfixed64: long("sfixed64", {
    wireType: 1,
    check: int64Check("sfixed64"),
    put: Int64.writeFixed64,
    get: Int64.readSfixed64
  }),
  uint64: long("uint64", {
    wireType: 0,
    check: uint64Check("uint64"),
    put: Int64.writeVarint64,
    get: Int64.readUint64
  }),
  fixed64: long("fixed64", {
    wireType: 1,
    check: uint64Check("fixed64"),
    put: Int64.writeFixed64,
    get: Int64.readFixed64
  }),
  float: number("float", {
    wireType: 5,
    check: realCheck("float", maxFloat),
    put: (writer, checked) => writer.float(checked),
    get: (reader) => reader.float(),
    getAll: (reader, items) => void reader.floats(items)
  }, isPositiveZero),
  double: number("double", {
    wireType: 1,
    check: realCheck("double", Infinity),
    put: (writer, checked) => writer.double(checked),
    get: (reader) => reader.double(),
    getAll: (reader, items) => void reader.doubles(items)
  }, isPositiveZero),
  bool: scalar<boolean>("true or false", {
    wireType: 0,
    check: (value) => {
      if (typeof value !== "boolean") throw wrong("true or false", kindOf(value))
      return value
    },
    isDefault: (checked) => !checked,
    put: (writer, checked) => writer.bool(checked),
    get: (reader) => reader.bool(),
    getAll: (reader, items) => void reader.bools(items),
    absent: false
  }),
  bytes: scalar<Uint8Array>("bytes", {
    wireType: 2,
    check: (value) => {
      if (!(value instanceof Uint8Array)) throw wrong("a Uint8Array", kindOf(value))
      return value
    },
    isDefault: (checked) => checked.length === 0,
    put: (writer, checked) => writer.bytes(checked),
    get: (reader) => copyOf(reader.bytes()),
    absent: new Uint8Array()
  })
}

/** `verify`: whether text that is not UTF-8 is refused when it is read. */
export const scalarElement = (type: string, verify: boolean): Element =>
  type === "string" ? verify ? verified : lenient : scalars[type]!

/** Closed enums have no other numbers than theirs, neither in requests nor in responses. */
export const enumElement = (type: protobuf.Enum, closed: boolean): Element => {
  const numbers = new Map(Object.entries(type.values))
  const names = new Map(Object.entries(type.valuesById).map(([number, name]) => [Number(number), name]))
  const first = type.values[Object.keys(type.values)[0]!]!
  const refuse = (value: unknown) => wrong(`one of ${[...numbers.keys()].join(", ")}`, valueOf(value))
  return scalar<number>(`an enum (${type.fullName.slice(1)})`, {
    wireType: 0,
    check: (value) => {
      const named = typeof value === "string" ? numbers.get(value) : integerOf(value)
      const number = Number(named)
      if (named === undefined || (number | 0) !== number || (closed && !names.has(number))) throw refuse(value)
      return number
    },
    isDefault: (checked) => checked === first,
    put: (writer, checked) => writer.int32(checked),
    get: (reader) => {
      const number = reader.int32()
      return names.get(number) ?? (closed ? undefined : number)
    },
    absent: names.get(first) ?? first
  })
}

import * as Result from "effect/Result"
import protobuf from "protobufjs"
import { type GrpcSchemaErrorReason, UnknownField, WrongType } from "../../../errors/GrpcSchemaError.ts"

/** What a value is wrong with, and where: each level it is thrown through puts its own step in front of the path. */
class Problem {
  readonly path: Array<string | number>
  readonly reason: (path: string) => GrpcSchemaErrorReason
  constructor(path: Array<string | number>, reason: (path: string) => GrpcSchemaErrorReason) {
    this.path = path
    this.reason = reason
  }
}

const show = (path: ReadonlyArray<string | number>) =>
  path.reduce<string>(
    (shown, step) => typeof step === "number" ? `${shown}[${step}]` : shown === "" ? step : `${shown}.${step}`,
    ""
  )

/** Runs a step of a walk; a problem in it learns where it was. */
const at = <A>(step: string | number, walk: () => A): A => {
  try {
    return walk()
  } catch (problem) {
    if (problem instanceof Problem) problem.path.unshift(step)
    throw problem
  }
}

/** Says what a value is without telling its contents, which may be nobody else's business. */
const kindOf = (value: unknown): string => {
  if (value === null) return "null"
  if (Array.isArray(value)) return "an array"
  if (value instanceof Uint8Array) return "bytes"
  if (typeof value === "object") return "an object"
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") return String(value)
  return `a ${typeof value}`
}

/** For numbers and names, where the value itself is what is wrong with it. */
const valueOf = (value: unknown): string =>
  typeof value === "string" ? JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}...` : value) : kindOf(value)

const wrong = (expected: string, got: string) => new Problem([], (path) => new WrongType({ path, expected, got }))

type Encode = (value: unknown, depth: number) => unknown
type Decode = (value: unknown) => unknown

interface ValueCodec {
  readonly encode: Encode
  readonly decode: Decode
}

const exactInteger = (value: unknown): bigint | undefined => {
  if (typeof value === "bigint") return value
  if (typeof value === "number") return Number.isSafeInteger(value) ? BigInt(value) : undefined
  return typeof value === "string" && /^-?\d{1,20}$/.test(value) ? BigInt(value) : undefined
}

const integer = (name: string, bits: 32 | 64, signed: boolean): Encode => {
  const size = BigInt(bits)
  const min = signed ? -(1n << (size - 1n)) : 0n
  const max = (1n << (signed ? size - 1n : size)) - 1n
  return (value) => {
    const exact = exactInteger(value)
    if (exact === undefined) throw wrong(`a whole number (${name}); a bigint when it is above 2^53`, valueOf(value))
    if (exact < min || exact > max) throw wrong(`between ${min} and ${max} (${name})`, String(exact))
    const number = Number(exact)
    return Number.isSafeInteger(number)
      ? number
      // what protobufjs takes for 64 bits
      : { low: Number(BigInt.asIntN(32, exact)), high: Number(BigInt.asIntN(32, exact >> 32n)) }
  }
}

const longToBigInt = (unsigned: boolean): Decode => (value) =>
  typeof value === "object" && value !== null && "low" in value && "high" in value
    ? (BigInt(unsigned ? Number(value.high) >>> 0 : Number(value.high)) << 32n) | BigInt(Number(value.low) >>> 0)
    : BigInt(Number(value))

const maxFloat = 3.4028234663852886e38

const real = (name: string, max: number): Encode => (value) => {
  if (typeof value !== "number") throw wrong(`a number (${name})`, kindOf(value))
  if (Number.isFinite(value) && Math.abs(value) > max) throw wrong(`at most ${max} (${name})`, String(value))
  return value
}

const same: Decode = (value) => value

const int = (name: string, signed: boolean): ValueCodec => ({ encode: integer(name, 32, signed), decode: same })

const long = (name: string, signed: boolean): ValueCodec => ({
  encode: integer(name, 64, signed),
  decode: longToBigInt(!signed)
})

const scalars: Record<string, ValueCodec> = {
  int32: int("int32", true),
  sint32: int("sint32", true),
  sfixed32: int("sfixed32", true),
  uint32: int("uint32", false),
  fixed32: int("fixed32", false),
  int64: long("int64", true),
  sint64: long("sint64", true),
  sfixed64: long("sfixed64", true),
  uint64: long("uint64", false),
  fixed64: long("fixed64", false),
  float: { encode: real("float", maxFloat), decode: same },
  double: { encode: real("double", Infinity), decode: same },
  bool: {
    encode: (value) => {
      if (typeof value !== "boolean") throw wrong("true or false", kindOf(value))
      return value
    },
    decode: same
  },
  string: {
    encode: (value) => {
      if (typeof value !== "string") throw wrong("a string", kindOf(value))
      // half a surrogate pair is no text: UTF-8 would turn it into another character
      if (/\p{Surrogate}/u.test(value)) throw wrong("text that UTF-8 can hold", "a string with half a surrogate pair")
      return value
    },
    decode: same
  },
  bytes: {
    encode: (value) => {
      if (!(value instanceof Uint8Array)) throw wrong("a Uint8Array", kindOf(value))
      return value
    },
    // a copy: protobufjs gives a view of the buffer that the network filled, and an empty array for none
    decode: (value) => value instanceof Uint8Array ? new Uint8Array(value) : new Uint8Array()
  }
}

const enumCodec = (type: protobuf.Enum, closed: boolean): ValueCodec => ({
  encode: (value) => {
    if (typeof value === "string") {
      const number = Object.hasOwn(type.values, value) ? type.values[value] : undefined
      if (number !== undefined) return number
    } else {
      const number = exactInteger(value)
      if (number !== undefined && number === BigInt.asIntN(32, number)) {
        if (!closed || type.valuesById[Number(number)] !== undefined) return Number(number)
      }
    }
    throw wrong(`one of ${Object.keys(type.values).join(", ")}`, valueOf(value))
  },
  decode: (value) => type.valuesById[Number(value)] ?? value
})

const messageCodec = (type: protobuf.Type): ValueCodec => {
  // made when it is first used: messages can contain themselves
  let found: MessageCodec | undefined
  const codec = () => found ??= codecOf(type)
  return {
    encode: (value, depth) => codec().toWire(value, depth),
    decode: (value) => codec().fromWire(value)
  }
}

const valueCodec = (field: protobuf.Field): ValueCodec => {
  if (field.resolvedType instanceof protobuf.Enum) {
    return enumCodec(field.resolvedType, featuresOf(field.resolvedType)["enum_type"] === "CLOSED")
  }
  if (field.resolvedType instanceof protobuf.Type) return messageCodec(field.resolvedType)
  return scalars[field.type]!
}

const featuresOf = (object: protobuf.ReflectionObject): Record<string, unknown> => {
  const features: unknown = Reflect.get(object, "_features")
  return typeof features === "object" && features !== null ? { ...features } : {}
}

const repeated = (item: ValueCodec): ValueCodec => ({
  encode: (value, depth) => {
    if (!Array.isArray(value)) throw wrong("an array", kindOf(value))
    return value.map((element: unknown, index) => at(index, () => item.encode(element, depth)))
  },
  decode: (value) => Array.isArray(value) ? value.map((element) => item.decode(element)) : []
})

const mapKey = (keyType: string): (key: string) => string => {
  if (keyType === "string") return (key) => key
  if (keyType === "bool") {
    return (key) => {
      if (key !== "true" && key !== "false") throw wrong("a key that is true or false", valueOf(key))
      return key
    }
  }
  const { encode } = scalars[keyType]!
  return (key) => {
    encode(key, 0)
    return key
  }
}

const isLong = (type: string) => type.endsWith("64")

const map = (keyType: string, item: ValueCodec): ValueCodec => {
  const checkKey = mapKey(keyType)
  const unsigned = keyType === "uint64" || keyType === "fixed64"
  const decodeLong = longToBigInt(unsigned)
  return {
    encode: (value, depth) => {
      if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Uint8Array) {
        throw wrong("an object or a Map", kindOf(value))
      }
      const out: Record<string, unknown> = Object.create(null)
      for (const [key, element] of value instanceof Map ? value : Object.entries(value)) {
        const name = String(key)
        at(name, () => out[checkKey(name)] = item.encode(element, depth))
      }
      return out
    },
    decode: (value) => {
      const out: Record<string, unknown> = {}
      for (const [key, element] of Object.entries(value ?? {})) {
        // 64-bit keys come as eight characters, one for each byte
        const name = isLong(keyType) ? String(decodeLong(protobuf.util.longFromHash(key, unsigned))) : key
        Object.defineProperty(out, name, {
          value: item.decode(element),
          enumerable: true,
          configurable: true,
          writable: true
        })
      }
      return out
    }
  }
}

/** Whether "not there" and "there with the default value" are two things. protobufjs does not say so of messages. */
export const hasPresence = (field: protobuf.Field): boolean => {
  // its type says boolean; for the members of a oneof it is the oneof
  const tracked: unknown = field.hasPresence
  return Boolean(tracked) || (!field.repeated && !field.map && field.resolvedType instanceof protobuf.Type)
}

interface FieldCodec extends ValueCodec {
  /** As in the .proto. */
  readonly name: string
  /** As in the plain objects that callers get. */
  readonly key: string
  readonly oneof: protobuf.OneOf | undefined
  /** What callers get when it did not come. */
  readonly absent: (() => unknown) | undefined
}

const fieldCodec = (field: protobuf.Field, key: string): FieldCodec => {
  const value = valueCodec(field)
  const isMap = field instanceof protobuf.MapField
  const codec = isMap ? map(field.keyType, value) : field.repeated ? repeated(value) : value
  const absent = isMap
    ? () => ({})
    : field.repeated
    ? () => []
    : hasPresence(field)
    ? undefined
    : () => value.decode(field.typeDefault)
  const oneof = field.partOf ?? undefined
  return {
    ...codec,
    name: field.name,
    key,
    oneof: oneof !== undefined && oneof.fieldsArray.length > 1 ? oneof : undefined,
    absent
  }
}

const maxDepth = 100

/** One message type, between the plain objects of callers and what protobufjs reads and writes. */
class MessageCodec {
  private readonly type: protobuf.Type
  private readonly fields: ReadonlyArray<FieldCodec>
  private readonly byName: ReadonlyMap<string, FieldCodec>
  private readonly required: ReadonlyArray<string>

  constructor(type: protobuf.Type) {
    this.type = type
    const byName = new Map<string, FieldCodec>()
    const names = new Set(type.fieldsArray.map((field) => field.name))
    this.fields = type.fieldsArray.map((field) => {
      const json = field.resolve().jsonName
      // a name that is taken, by a field or by another one's JSON name, stays as it is in the .proto
      const key = json !== field.name && (names.has(json) || byName.has(json)) ? field.name : json
      const codec = fieldCodec(field, key)
      byName.set(key, codec).set(field.name, codec)
      return codec
    })
    this.byName = byName
    this.required = type.fieldsArray.filter((field) => field.required).map((field) => field.name)
  }

  toWire(value: unknown, depth: number): Record<string, unknown> {
    if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Uint8Array) {
      throw wrong(`an object (${this.type.fullName.slice(1)})`, kindOf(value))
    }
    if (depth > maxDepth) throw wrong(`nested at most ${maxDepth} levels deep`, "deeper")
    const out: Record<string, unknown> = {}
    let chosen: Map<protobuf.OneOf, string> | undefined
    for (const [key, given] of Object.entries(value)) {
      const field = this.byName.get(key)
      if (field === undefined) {
        const known = this.fields.map(({ key }) => key)
        throw new Problem([key], (path) => new UnknownField({ path, known }))
      }
      if (given === undefined || given === null) continue
      if (Object.hasOwn(out, field.name)) {
        throw new Problem(
          [key],
          (path) => new WrongType({ path, expected: "given once", got: `given as ${field.key} and as ${field.name}` })
        )
      }
      if (field.oneof !== undefined) {
        const other = (chosen ??= new Map()).get(field.oneof)
        if (other !== undefined) throw wrongOneof(field.oneof, other, key)
        chosen.set(field.oneof, key)
      }
      out[field.name] = at(key, () => field.encode(given, depth + 1))
    }
    for (const name of this.required) {
      if (!Object.hasOwn(out, name)) throw new Problem([name], (path) => missing(path))
    }
    return out
  }

  fromWire(source: unknown): Record<string, unknown> {
    const out: Record<string, unknown> = {}
    if (!isRecord(source)) return out
    for (const field of this.fields) {
      if (Object.hasOwn(source, field.name)) out[field.key] = field.decode(source[field.name])
      else if (field.absent !== undefined) out[field.key] = field.absent()
    }
    return out
  }

  encode(value: unknown): Buffer {
    const bytes = this.type.encode(this.toWire(value, 0)).finish()
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  decode(bytes: Uint8Array): Record<string, unknown> {
    return this.fromWire(this.type.decode(bytes))
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null

const missing = (path: string) => new WrongType({ path, expected: "there (it is required)", got: "missing" })

const wrongOneof = (oneof: protobuf.OneOf, one: string, other: string) =>
  new Problem([oneof.name], (path) =>
    new WrongType({
      path,
      expected: `one of ${oneof.fieldsArray.map((field) => field.jsonName).join(", ")}`,
      got: `both ${one} and ${other}`
    }))

const codecs = new WeakMap<protobuf.Type, MessageCodec>()

const codecOf = (type: protobuf.Type): MessageCodec => {
  const known = codecs.get(type)
  if (known !== undefined) return known
  const codec = new MessageCodec(type)
  codecs.set(type, codec)
  return codec
}

/** A plain object as bytes, or what does not fit. */
export const encode = (type: protobuf.Type, value: unknown): Result.Result<Buffer, GrpcSchemaErrorReason> => {
  try {
    return Result.succeed(codecOf(type).encode(value))
  } catch (problem) {
    if (problem instanceof Problem) return Result.fail(problem.reason(show(problem.path)))
    throw problem
  }
}

/** Bytes as a plain object. Throws what protobufjs throws when they are not a message of this type. */
export const decode = (type: protobuf.Type, bytes: Uint8Array): Record<string, unknown> => codecOf(type).decode(bytes)

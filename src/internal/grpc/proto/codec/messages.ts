import protobuf from "protobufjs"
import { type Find, type Form, formOf } from "../wellKnown.ts"
import { narrow, noGroup } from "./element.ts"
import { isFields } from "./fields.ts"
import { type MessageElement, MessagePlan } from "./messagePlan.ts"

/** One message type: its fields, and the form in which callers see it when it is a well-known type. */
export interface Message {
  /** `"a message (acme.Order)"`. */
  readonly name: string
  readonly plan: MessagePlan
  readonly form: Form | undefined
}

const messages = new WeakMap<protobuf.Type, Message>()

/** Works a type out when it is first asked for. */
export const messageOf = (type: protobuf.Type): Message => {
  const known = messages.get(type)
  if (known !== undefined) return known
  const form = formOf(type, findIn(type.root))
  const plan = new MessagePlan(type, elementOf, form?.showsFields ?? true)
  const message = { name: `a message (${plan.name})`, plan, form }
  messages.set(type, message)
  return message
}

/** What an `Any` can hold: the messages of the same definitions. */
const findIn = (root: protobuf.Root): Find => (name) => {
  const type = name.split(".").reduce<protobuf.ReflectionObject | null>(
    (scope, part) => scope instanceof protobuf.Namespace ? scope.get(part) : null,
    root
  )
  if (!(type instanceof protobuf.Type)) return undefined
  const message = messageOf(type)
  return {
    isSpecial: message.form !== undefined,
    pack: (value, depth) => {
      const writer = protobuf.Writer.create()
      write(message, writer, value, depth)
      return writer.finish()
    },
    unpack: (bytes, depth) => read(message, protobuf.Reader.create(bytes), noGroup, depth, undefined)
  }
}

export const write = ({ form, plan }: Message, writer: protobuf.Writer, value: unknown, depth: number): void =>
  plan.write(writer, form === undefined ? value : form.toFields(value, depth), depth)

/** Reads all that `reader` may read, or a group to its end, on top of what came before. */
export const read = (
  { form, plan }: Message,
  reader: protobuf.Reader,
  endGroup: number,
  depth: number,
  previous: unknown
): unknown => {
  if (form === undefined) return plan.read(reader, endGroup, depth, isFields(previous) ? previous : plan.make())
  const before = previous === undefined || !form.merges ? undefined : form.toFields(previous, depth)
  return form.fromFields(plan.read(reader, endGroup, depth, isFields(before) ? before : plan.make()), depth)
}

const elementOf: MessageElement = (type, group) => {
  // later: messages can contain themselves
  let found: Message | undefined
  const message = () => found ??= messageOf(type)
  const common = {
    name: `a message (${type.fullName.slice(1)})`,
    check: (value: unknown) => value,
    isDefault: () => false,
    absent: () => {
      const { form, plan } = message()
      return form === undefined ? plan.make() : form.fromFields(plan.make(), 0)
    },
    takesNull: formOf(type, findIn(type.root))?.takesNull ?? false
  }
  if (group !== undefined) {
    const end = ((group << 3) | 4) >>> 0
    return {
      ...common,
      wireType: 3,
      put: (writer, value, depth) => write(message(), writer, value, depth + 1),
      get: (reader, depth, previous) => read(message(), reader, end, depth + 1, previous)
    }
  }
  return {
    ...common,
    wireType: 2,
    put: (writer, value, depth) => {
      writer.fork()
      write(message(), writer, value, depth + 1)
      writer.ldelim()
    },
    get: (reader, depth, previous) => {
      const outer = narrow(reader)
      const value = read(message(), reader, noGroup, depth + 1, previous)
      reader.len = outer
      return value
    }
  }
}

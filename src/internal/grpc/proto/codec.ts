import * as Result from "effect/Result"
import protobuf from "protobufjs"
import { GrpcSchemaError } from "../../../errors/GrpcSchemaError.ts"
import type { MessageCodec } from "../definition.ts"
import { noGroup } from "./codec/element.ts"
import { type Fields, isFields } from "./codec/fields.ts"
import { type Message, messageOf, read, write } from "./codec/messages.ts"
import { problemOf } from "./codec/problem.ts"

export { hasPresence } from "./codec/fields.ts"
export { keyOf } from "./codec/messagePlan.ts"

const slabSize = 16 * 1024

/** A writer that nobody is writing with. Messages lie behind each other in its buffer, and each is a part of it. */
let idle: protobuf.Writer | undefined

const encode = (message: Message, value: object): Uint8Array => {
  const writer = idle ?? protobuf.Writer.create()
  // a getter of the caller's could want to encode something too; after a failure it is not used again
  idle = undefined
  if (writer.buf.length !== slabSize || slabSize - writer.pos < 512) {
    writer.buf = Buffer.allocUnsafeSlow(slabSize)
    writer.view = null
    writer.pos = 0
  }
  const start = writer.pos
  write(message, writer, value, 0)
  idle = writer
  return writer.buf.subarray(start, writer.pos)
}

/**
 * Between plain objects and the bytes of one message type. A whole message is always an object: a well-known type whose
 * form is something else has its fields here.
 */
export const of = (type: protobuf.Type): MessageCodec<object, Fields> => {
  let found: Message | undefined
  const message = () => {
    if (found !== undefined) return found
    const { form, name, plan } = messageOf(type)
    return found = { name, plan, form: form?.isObject === true ? form : undefined }
  }
  const fail = (thrown: unknown) =>
    Result.fail(new GrpcSchemaError({ reason: problemOf(thrown, message().name).reason }))
  return {
    encode: (value) => {
      try {
        return Result.succeed(encode(message(), value))
      } catch (thrown) {
        return fail(thrown)
      }
    },
    decode: (bytes) => {
      try {
        const value = read(message(), protobuf.Reader.create(bytes), noGroup, 0, undefined)
        // all forms that are left are objects
        return Result.succeed(isFields(value) ? value : {})
      } catch (thrown) {
        return fail(thrown)
      }
    }
  }
}

import * as Result from "effect/Result"
import { GrpcSchemaError, InvalidMessage, WrongType } from "../../../errors/GrpcSchemaError.ts"
import type { MessageCodec, MethodDefinition, MethodKind } from "../definition.ts"

/** A method as generated code or Effect schemas describe it. Which values it takes, the types say. */
export interface TypedMethod extends MethodDefinition<MessageCodec<unknown>, MessageCodec<unknown>> {
  /** What it is called in a program: `"getItem"` where the `.proto` has `GetItem`. */
  readonly key: string
}

/** What the types know of a method: its kind, and what either side gives and gets. */
export interface MethodTypes<
  Kind extends MethodKind = MethodKind,
  RequestIn = unknown,
  RequestOut = unknown,
  ResponseIn = unknown,
  ResponseOut = unknown
> {
  readonly kind: Kind
  /** What a client gives. */
  readonly requestIn: RequestIn
  /** What a server gets. */
  readonly requestOut: RequestOut
  /** What a server gives. */
  readonly responseIn: ResponseIn
  /** What a client gets. */
  readonly responseOut: ResponseOut
}

/** Which of the two messages of a method. */
export type Part = "request" | "response"

/** `service` and `name` of `"/acme.Orders/Create"`, and the path without its first slash. */
export const namesOf = (path: string): { readonly path: string; readonly service: string; readonly name: string } => {
  const bare = path.startsWith("/") ? path.slice(1) : path
  const slash = bare.lastIndexOf("/")
  return { path: bare, service: bare.slice(0, slash), name: bare.slice(slash + 1) }
}

const messageOf = (cause: unknown) => cause instanceof Error ? cause.message : String(cause)

/** What somebody else's code threw at a value. */
export const refused = (method: string, part: Part, cause: unknown): GrpcSchemaError =>
  new GrpcSchemaError({ reason: new InvalidMessage({ method, part, detail: messageOf(cause), cause }) })

/** The codec of code that throws at what it does not like. */
export const foreignCodec = (
  method: string,
  part: Part,
  encode: (value: unknown) => Uint8Array,
  decode: (bytes: Uint8Array) => unknown
): MessageCodec<unknown> => ({
  encode: (value) => Result.try({ try: () => encode(value), catch: (cause) => refused(method, part, cause) }),
  decode: (bytes) =>
    Result.try({
      try: () => decode(bytes),
      catch: (cause) =>
        new GrpcSchemaError({
          reason: new WrongType({ path: "", expected: `the ${part} of "${method}"`, got: messageOf(cause) })
        })
    })
})

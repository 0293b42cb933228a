/**
 * Services whose messages are described with Effect schemas, laid over definitions that were loaded from a `.proto`.
 *
 * The `.proto` says how messages look on the wire; a schema says what they are in a program: a `Date` where the message has
 * text, a branded id, a class, a check. No code is generated. `GrpcChannel.client` makes a typed client of such a service,
 * and `GrpcServer.service` serves it.
 *
 * **Details**
 *
 * - A value is encoded by its schema to a plain object, and that by the loaded definition to bytes; and back. The schema's
 *   encoded side is therefore in the forms of `GrpcSchema`: fields by their JSON names (`priceCents`), 64-bit numbers as
 *   `bigint`, bytes as `Uint8Array`, enum values by name.
 * - Methods go by their names in the `.proto`. One that is not there or is of another kind, and a field of a schema that its
 *   message does not have, at any depth, are a `GrpcSchemaError` (`UnknownMethod`, `WrongKind`, `InvalidMessage`) when the
 *   client or the server is made.
 * - What a schema refuses is a `GrpcSchemaError` with `InvalidMessage`: `path` leads to the field, and `cause` is the
 *   `SchemaError` with all that was found. Values are in neither.
 *
 * **Gotchas**
 *
 * - Schemas need no services and do not wait: a transformation that does is an `InvalidMessage` when it is used.
 * - A field that did not come has its default in the plain object (`""`, `0`, `[]`); `optional` fields, messages and members
 *   of a `oneof` are not there at all: describe those with `Schema.optionalKey`.
 *
 * **Example** (A service with dates and checked numbers)
 *
 * ```ts
 * import { Effect, Schema, Stream } from "effect"
 * import { type GrpcChannel, GrpcService } from "hawser"
 *
 * const Item = Schema.Struct({ id: Schema.String, priceCents: Schema.BigInt, soldAt: Schema.DateFromString })
 *
 * const Shop = GrpcService.make("acme.Shop", {
 *   Get: GrpcService.unary({ payload: Schema.Struct({ id: Schema.String }), success: Item }),
 *   Watch: GrpcService.serverStream({ payload: Schema.Struct({ soldAfter: Schema.DateFromString }), success: Item })
 * })
 *
 * const program = (channel: GrpcChannel.GrpcChannel) =>
 *   Effect.gen(function*() {
 *     const shop = yield* channel.client(Shop)
 *     const { soldAt } = yield* shop.Get({ id: "1" }, { timeout: "2 seconds" })
 *     return yield* shop.Watch({ soldAfter: soldAt }).pipe(Stream.take(10), Stream.runCollect)
 *   })
 * ```
 *
 * @since 0.1.0
 */
import type { MethodKind } from "../internal/grpc/definition.ts"
import {
  type MessageSchema,
  type SchemaMethod as Method,
  type SchemaService as GrpcService,
  TypeId
} from "../internal/grpc/typed/effectSchema.ts"

export type {
  /**
   * A schema that a message can have: it encodes to an object, needs no services, and neither direction waits.
   *
   * @category models
   * @since 0.1.0
   */
  MessageSchema,
  /**
   * One method: its kind, and the schemas of its messages.
   *
   * @category models
   * @since 0.1.0
   */
  SchemaMethod as Method,
  /**
   * A service whose messages are described with Effect schemas.
   *
   * @category models
   * @since 0.1.0
   */
  SchemaService as GrpcService
} from "../internal/grpc/typed/effectSchema.ts"

/**
 * Describes a service. `name` is the full one of the `.proto`, such as `"acme.Shop"`; methods go by their names there.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <const Name extends string, Methods extends { readonly [name: string]: Method }>(
  name: Name,
  methods: Methods
): GrpcService<Name, Methods> => ({ [TypeId]: TypeId, name, methods })

/**
 * The schemas of a method: `payload` for what the client sends, `success` for what the server answers. For a stream, they
 * are those of each message.
 *
 * @category models
 * @since 0.1.0
 */
export interface MethodSchemas<Payload extends MessageSchema, Success extends MessageSchema> {
  readonly payload: Payload
  readonly success: Success
}

const method = <Kind extends MethodKind>(kind: Kind) =>
<Payload extends MessageSchema, Success extends MessageSchema>(
  { payload, success }: MethodSchemas<Payload, Success>
): Method<Kind, Payload, Success> => ({ kind, payload, success })

/**
 * A method with one request and one response.
 *
 * @category constructors
 * @since 0.1.0
 */
export const unary: <Payload extends MessageSchema, Success extends MessageSchema>(
  schemas: MethodSchemas<Payload, Success>
) => Method<"unary", Payload, Success> = method("unary")

/**
 * A method with one request and a stream of responses.
 *
 * @category constructors
 * @since 0.1.0
 */
export const serverStream: <Payload extends MessageSchema, Success extends MessageSchema>(
  schemas: MethodSchemas<Payload, Success>
) => Method<"serverStream", Payload, Success> = method("serverStream")

/**
 * A method with a stream of requests and one response.
 *
 * @category constructors
 * @since 0.1.0
 */
export const clientStream: <Payload extends MessageSchema, Success extends MessageSchema>(
  schemas: MethodSchemas<Payload, Success>
) => Method<"clientStream", Payload, Success> = method("clientStream")

/**
 * A method with a stream of requests and a stream of responses, which need not wait for each other.
 *
 * @category constructors
 * @since 0.1.0
 */
export const bidi: <Payload extends MessageSchema, Success extends MessageSchema>(
  schemas: MethodSchemas<Payload, Success>
) => Method<"bidi", Payload, Success> = method("bidi")

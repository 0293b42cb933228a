import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { DialError } from "../../../errors/DialError.ts"
import type { GrpcError } from "../../../errors/GrpcError.ts"
import { BadReflection, GrpcSchemaError } from "../../../errors/GrpcSchemaError.ts"
import { builtIn } from "../proto/builtIn.ts"
import * as Definitions from "../proto/definitions/reflection.ts"
import type { Method } from "../proto/describe.ts"
import * as Descriptor from "../proto/descriptor.ts"
import { type Limits, Quota } from "../proto/limits.ts"
import * as Load from "../proto/load.ts"
import { type GrpcSchema, make } from "../proto/schema.ts"
import type { CallError } from "./callOptions.ts"
import type { Calls } from "./calls.ts"

/** What of a server is read, and how much. */
export interface ReflectionOptions extends Limits {
  /** The services to read, such as `"acme.Orders"`. Default: all that the server lists and can describe. */
  readonly services?: ReadonlyArray<string> | undefined
  /** How long all of it may take. Default 20 seconds. */
  readonly timeout?: Duration.Input | undefined
}

/** A schema that the server itself gives, once there is a channel to it. */
export interface FromReflection {
  readonly _tag: "FromReflection"
  readonly options: ReflectionOptions
}

/** One of these. */
interface Request {
  readonly listServices?: string
  readonly fileContainingSymbol?: string
  readonly fileByFilename?: string
}

/** One of these, or something that we have not asked for. */
interface Response {
  readonly listServicesResponse?: { readonly service: ReadonlyArray<{ readonly name: string }> }
  readonly fileDescriptorResponse?: { readonly fileDescriptorProto: ReadonlyArray<Uint8Array> }
  readonly errorResponse?: { readonly errorCode: number; readonly errorMessage: string }
}

/** Asks a server several things and gets as many answers, in the same order. */
type Ask<E> = (requests: ReadonlyArray<Request>) => Effect.Effect<ReadonlyArray<Response>, E>

const bad = (why: string) => new GrpcSchemaError({ reason: new BadReflection({ why }) })

/** The files of a server, as far as they have come. */
class Collected {
  readonly files = new Map<string, Uint8Array>()
  /** Imports that have been asked for, whatever came of it. */
  private readonly wanted = new Set<string>()
  private readonly quota: Quota

  constructor(limits: Limits) {
    this.quota = new Quota(limits)
  }

  readonly add = Effect.fnUntraced({ self: this }, function*(files: ReadonlyArray<Uint8Array>) {
    const missing: Array<string> = []
    for (const bytes of files) {
      const file = yield* Effect.try({
        try: () => Descriptor.decode(bytes),
        catch: () => bad("the server sent a file that is none")
      })
      const { name } = file
      yield* this.quota.bytes(name, bytes.length)
      if (this.files.has(name)) continue
      yield* this.quota.file(name)
      this.files.set(name, bytes)
      missing.push(...file.dependency)
    }
    // by now some of them have come
    const next = missing.filter((name) => !this.files.has(name) && !this.wanted.has(name))
    for (const name of next) this.wanted.add(name)
    return [...new Set(next)]
  })
}

const filesOf = (response: Response) => response.fileDescriptorResponse?.fileDescriptorProto ?? []

/**
 * Collects the files of services and whatever they import. Services that were not asked for by name and that the server
 * cannot describe are left out; imports that it does not have are found missing when the files are put together.
 */
const collect = Effect.fnUntraced(function*<E>(
  ask: Ask<E>,
  options: ReflectionOptions
): Effect.fn.Return<ReadonlyArray<Uint8Array>, E | GrpcSchemaError> {
  const listed = options.services === undefined
    ? (yield* ask([{ listServices: "*" }]))[0]?.listServicesResponse?.service.map(({ name }) => name)
    : options.services
  if (listed === undefined) return yield* bad("the server does not say which services it has")
  const collected = new Collected(options)
  const left: Array<string> = []
  const answers = yield* ask(listed.map((name) => ({ fileContainingSymbol: name })))
  for (const [index, answer] of answers.entries()) {
    const files = filesOf(answer)
    if (files.length === 0 && options.services !== undefined) {
      return yield* bad(`"${listed[index]}": ${answer.errorResponse?.errorMessage ?? "no file"}`)
    }
    left.push(...(yield* collected.add(files)))
  }
  if (collected.files.size === 0) return yield* bad("the server describes none of its services")
  while (left.length > 0) {
    for (const answer of yield* ask(left.splice(0).map((name) => ({ fileByFilename: name })))) {
      left.push(...(yield* collected.add(filesOf(answer))))
    }
  }
  return [...collected.files.values()]
})

/** So many requests wait for answers at a time: more would not fit into the windows of HTTP/2 everywhere. */
const ahead = 16

const methodOf = (version: "v1" | "v1alpha"): Method =>
  Result.getOrThrow(
    builtIn(`grpc/reflection/${version}/reflection.proto`, Definitions.reflection(version)).method(
      `grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`
    )
  )

/** All over one call, which ends with it. */
const readVersion = (
  calls: Calls,
  version: "v1" | "v1alpha",
  options: ReflectionOptions
): Effect.Effect<ReadonlyArray<Uint8Array>, CallError> =>
  Effect.scoped(Effect.gen(function*() {
    const handle = yield* calls.open(methodOf(version), {
      timeout: options.timeout ?? "20 seconds",
      maxReceiveSize: options.maxTotalSize ?? 16 * 1024 * 1024
    })
    const ask: Ask<CallError> = Effect.fnUntraced(function*(requests) {
      const answers: Array<Response> = []
      for (let at = 0; at < requests.length; at += ahead) {
        const asked = requests.slice(at, at + ahead)
        yield* handle.send(asked)
        for (const _ of asked) {
          const answer = yield* handle.receive
          if (Option.isNone(answer)) return yield* bad("the server stopped answering")
          answers.push(answer.value)
        }
      }
      return answers
    })
    const files = yield* collect(ask, options)
    yield* handle.completeSend
    return files
  }))

const isUnimplemented = (error: CallError): error is GrpcError =>
  error._tag === "GrpcError" && error.reason._tag === "Unimplemented"

/** What `connect` fails with: a status of this call is of no use to whoever has not made it. */
const failed = (error: CallError): DialError | GrpcSchemaError =>
  error._tag === "GrpcError"
    ? new GrpcSchemaError({ reason: new BadReflection({ why: error.message, status: error.reason._tag }) })
    : error

/** Asks the server for its definitions: by reflection v1, or by v1alpha where that is all there is. */
export const read = (
  calls: Calls,
  options: ReflectionOptions
): Effect.Effect<GrpcSchema, DialError | GrpcSchemaError> =>
  readVersion(calls, "v1", options).pipe(
    Effect.catchIf(isUnimplemented, () => readVersion(calls, "v1alpha", options)),
    Effect.catchIf(isUnimplemented, () => Effect.fail(bad("the server has none, neither v1 nor v1alpha"))),
    Effect.mapError(failed),
    Effect.flatMap(Load.loadDescriptors),
    Effect.map(make)
  )

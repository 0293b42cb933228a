/** A server of grpc-js whose reflection says whatever a test wants it to. */
import * as GrpcJs from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { MethodDefinition } from "../../../src/internal/grpc/definition.ts"
import * as Definitions from "../../../src/internal/grpc/proto/definitions/reflection.ts"
import * as GrpcSchema from "../../../src/services/GrpcSchema.ts"

export interface ReflectionRequest {
  readonly listServices?: string
  readonly fileContainingSymbol?: string
  readonly fileByFilename?: string
}

type Version = "v1" | "v1alpha"

/** What it does with a request: answers, as plain objects, or a status to end the call with, or nothing. */
export type Answer = (request: ReflectionRequest, version: Version) => ReadonlyArray<object> | GrpcJs.status | undefined

const methodOf = (version: Version) =>
  Effect.flatMap(
    GrpcSchema.fromSource(Definitions.reflection(version)),
    (schema) => Effect.fromResult(schema.method(`grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`))
  )

const definitionOf = ({ path, request, response }: MethodDefinition<GrpcSchema.Codec, GrpcSchema.Codec>) => ({
  ServerReflectionInfo: {
    path: `/${path}`,
    requestStream: true,
    responseStream: true,
    requestSerialize: (values: object) => Buffer.from(Result.getOrThrow(request.encode(values))),
    requestDeserialize: (bytes: Buffer) => Result.getOrThrow(request.decode(bytes)),
    responseSerialize: (values: object) => Buffer.from(Result.getOrThrow(response.encode(values))),
    responseDeserialize: (bytes: Buffer) => Result.getOrThrow(response.decode(bytes))
  }
})

export const reflectionServer = Effect.fnUntraced(function*(
  answer: Answer,
  versions: ReadonlyArray<Version> = ["v1", "v1alpha"]
) {
  const asked: Array<ReflectionRequest> = []
  const server = new GrpcJs.Server()
  for (const version of versions) {
    server.addService(definitionOf(yield* methodOf(version)), {
      ServerReflectionInfo: (call: GrpcJs.ServerDuplexStream<ReflectionRequest, object>) => {
        call.on("data", (request: ReflectionRequest) => {
          asked.push(request)
          const answers = answer(request, version)
          if (typeof answers === "number") call.emit("error", { code: answers, details: "told so" })
          else for (const one of answers ?? []) call.write(one)
        })
        call.on("end", () => call.end())
      }
    })
  }
  const port = yield* Effect.acquireRelease(
    Effect.callback<number, Error>((resume) =>
      server.bindAsync(
        "127.0.0.1:0",
        GrpcJs.ServerCredentials.createInsecure(),
        (error, port) => resume(error === null ? Effect.succeed(port) : Effect.fail(error))
      )
    ),
    () => Effect.sync(() => server.forceShutdown())
  )
  return { port, asked }
})

const notFound = { errorResponse: { errorCode: 5, errorMessage: "not found" } }

/** What an honest server answers, one file at a time. */
export const honestly = (schema: GrpcSchema.GrpcSchema, services = schema.services.map(({ name }) => name)): Answer => {
  const file = (found: GrpcSchema.CompiledFile | undefined) => [
    found === undefined ? notFound : { fileDescriptorResponse: { fileDescriptorProto: [found.bytes] } }
  ]
  return (request) => {
    if (request.listServices !== undefined) {
      return [{ listServicesResponse: { service: services.map((name) => ({ name })) } }]
    }
    return request.fileByFilename !== undefined
      ? file(schema.files.find(({ name }) => name === request.fileByFilename))
      // the last one defines the services: those that it imports come first
      : file(services.includes(request.fileContainingSymbol ?? "") ? schema.files.at(-1) : undefined)
  }
}

import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { InvalidArgument } from "../../../errors/GrpcError.ts"
import { builtIn } from "../proto/builtIn.ts"
import * as Definitions from "../proto/definitions/reflection.ts"
import type { Implementation } from "./handler.ts"
import { Index, type ReflectedFile } from "./reflectionIndex.ts"

/** A service of a server, and the files that describe it, where there are any. */
export interface ReflectedService {
  readonly name: string
  readonly files: ReadonlyArray<ReflectedFile>
}

/** One of the fields but `host` is there. */
interface Request {
  readonly host: string
  readonly fileByFilename?: string
  readonly fileContainingSymbol?: string
  readonly fileContainingExtension?: { readonly containingType: string; readonly extensionNumber: number }
  readonly allExtensionNumbersOfType?: string
  readonly listServices?: string
}

const notFound = 5

const error = (errorMessage: string) => ({ errorResponse: { errorCode: notFound, errorMessage } })

/** Answers the requests of one client, who gets no file twice unless it asks for it. */
class Answers {
  private readonly sent = new Set<ReflectedFile>()
  private readonly index: Index
  private readonly services: ReadonlyArray<string>

  constructor(index: Index, services: ReadonlyArray<string>) {
    this.index = index
    this.services = services
  }

  private file(file: ReflectedFile | undefined, wanted: string) {
    if (file === undefined) return error(`not found: ${wanted}`)
    const files = [file, ...this.index.importsOf(file).filter((imported) => !this.sent.has(imported))]
    for (const file of files) this.sent.add(file)
    return { fileDescriptorResponse: { fileDescriptorProto: files.map(({ bytes }) => bytes) } }
  }

  private extensionNumbers(type: string) {
    const numbers = this.index.extensionNumbers(type)
    return numbers.length === 0 && this.index.symbol(type) === undefined
      ? error(`not found: ${type}`)
      : { allExtensionNumbersResponse: { baseTypeName: type, extensionNumber: numbers } }
  }

  /** `undefined` when the request asks for nothing. */
  to(request: Request): object | undefined {
    const { allExtensionNumbersOfType, fileByFilename, fileContainingExtension, fileContainingSymbol } = request
    if (fileByFilename !== undefined) return this.file(this.index.file(fileByFilename), fileByFilename)
    if (fileContainingSymbol !== undefined) {
      return this.file(this.index.symbol(fileContainingSymbol), fileContainingSymbol)
    }
    if (fileContainingExtension !== undefined) {
      const { containingType, extensionNumber } = fileContainingExtension
      const file = this.index.extension(containingType, extensionNumber)
      return this.file(file, `extension ${extensionNumber} of ${containingType}`)
    }
    if (allExtensionNumbersOfType !== undefined) return this.extensionNumbers(allExtensionNumbersOfType)
    if (request.listServices !== undefined) {
      return { listServicesResponse: { service: this.services.map((name) => ({ name })) } }
    }
    return undefined
  }
}

const versions = ["v1", "v1alpha"] as const

/**
 * `grpc.reflection.v1.ServerReflection`, and the same as `v1alpha` for older clients, over the services of a server and
 * themselves. Files are looked into when the first request comes.
 */
export const make = (services: ReadonlyArray<ReflectedService>): ReadonlyArray<Implementation> => {
  const own = versions.map((version) => {
    const { files, method } = builtIn(`grpc/reflection/${version}/reflection.proto`, Definitions.reflection(version))
    const name = `grpc.reflection.${version}.ServerReflection`
    return { name, files, definition: Result.getOrThrow(method(`${name}/ServerReflectionInfo`)) }
  })
  const all = [...services, ...own]
  const names = all.map(({ name }) => name).toSorted()
  let index: Index | undefined

  const handler = (requests: Stream.Stream<Request>) =>
    Stream.suspend(() => {
      const answers = new Answers(index ??= new Index(all.map(({ files }) => files)), names)
      return Stream.mapEffect(requests, (request) => {
        const answer = answers.to(request)
        return answer === undefined
          ? Effect.fail(new InvalidArgument({ message: "the request asks for nothing" }))
          : Effect.succeed({ validHost: request.host, originalRequest: request, ...answer })
      })
    })
  return own.map(({ definition }) => ({ definition, handler }))
}

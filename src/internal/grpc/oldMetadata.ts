import * as Grpc from "@grpc/grpc-js"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { Metadata } from "../../errors/GrpcError.ts"
import { GrpcSchemaError, WrongType } from "../../errors/GrpcSchemaError.ts"

/** One value of metadata: text, or bytes for names that end in `-bin`. */
export type MetadataValue = string | Uint8Array | Redacted.Redacted

/** Metadata to send. A name can have several values. */
export interface MetadataInput {
  readonly [name: string]: MetadataValue | ReadonlyArray<MetadataValue> | undefined
}

const plain = (value: MetadataValue): Grpc.MetadataValue => {
  if (typeof value === "string") return value
  return Redacted.isRedacted(value) ? Redacted.value(value) : Buffer.from(value)
}

const isMany = (
  value: MetadataValue | ReadonlyArray<MetadataValue>
): value is ReadonlyArray<MetadataValue> => Array.isArray(value)

/** Metadata for grpc-js, the later ones added to the earlier; what cannot be sent is named. */
export const toGrpc = (
  inputs: ReadonlyArray<MetadataInput | undefined>,
  options: Grpc.MetadataOptions
): Result.Result<Grpc.Metadata, GrpcSchemaError> => {
  const metadata = new Grpc.Metadata(options)
  for (const input of inputs) {
    for (const [name, given] of Object.entries(input ?? {})) {
      for (const value of given === undefined ? [] : isMany(given) ? given : [given]) {
        const added = Result.try(() => metadata.add(name, plain(value)))
        if (Result.isFailure(added)) {
          const reason = new WrongType({
            path: `metadata.${name}`,
            expected: name.endsWith("-bin") ? "bytes" : "printable ASCII, or bytes under a name that ends in -bin",
            // the value may be a password
            got: "something else"
          })
          return Result.fail(new GrpcSchemaError({ reason }))
        }
      }
    }
  }
  return Result.succeed(metadata)
}

/** Metadata that came, in a form of our own. */
export const fromGrpc = (metadata: Grpc.Metadata | undefined): Metadata => {
  const text: Record<string, ReadonlyArray<string>> = {}
  const binary: Record<string, ReadonlyArray<Uint8Array>> = {}
  for (const name of Object.keys(metadata?.getMap() ?? {})) {
    const values = metadata?.get(name) ?? []
    if (name.endsWith("-bin")) binary[name] = values.map((value) => new Uint8Array(Buffer.from(value)))
    else text[name] = values.map(String)
  }
  return { text, binary }
}

/** What grpc-js's client and server have in common: the service, and metadata in the form that ours has. */
import * as Grpc from "@grpc/grpc-js"
import * as ProtoLoader from "@grpc/proto-loader"
import { fileURLToPath } from "node:url"
import type { Metadata } from "../../src/errors/GrpcError.ts"

export const protos = fileURLToPath(new URL("../support/grpc/protos", import.meta.url))

const definition = ProtoLoader.loadSync("grpc/testing/test.proto", {
  includeDirs: [protos],
  defaults: true,
  enums: String
})

/** The methods of a service, by their names in the definition. */
export const methodsOf = (service: string): ProtoLoader.ServiceDefinition => {
  const found = definition[service]
  if (found === undefined || "format" in found) throw new Error(`${service} is not defined`)
  return found
}

export const toGrpcJs = (values: { readonly [name: string]: string | Uint8Array } = {}): Grpc.Metadata => {
  const metadata = new Grpc.Metadata()
  for (const [name, value] of Object.entries(values)) {
    metadata.add(name, typeof value === "string" ? value : Buffer.from(value))
  }
  return metadata
}

export const fromGrpcJs = (metadata: Grpc.Metadata): Metadata => {
  const text: Record<string, ReadonlyArray<string>> = {}
  const binary: Record<string, ReadonlyArray<Uint8Array>> = {}
  for (const name of Object.keys(metadata.getMap())) {
    const values = metadata.get(name)
    if (name.endsWith("-bin")) binary[name] = values.map((value) => new Uint8Array(Buffer.from(value)))
    else text[name] = values.map(String)
  }
  return { text, binary }
}

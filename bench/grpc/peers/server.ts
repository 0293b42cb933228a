/** A grpc-js server that gives back what it gets, as bytes: it has no codec of its own that would take time. */
import * as GrpcJs from "@grpc/grpc-js"
import type { Address } from "../../harness/benchmark.ts"
import { Bench } from "../definition.ts"

const asIs = (bytes: Buffer): Buffer => bytes

const definition = { echo: { ...Bench.echo, requestDeserialize: asIs, responseSerialize: asIs } }

const echo: GrpcJs.handleUnaryCall<Buffer, Buffer> = (call, callback) => callback(null, call.request)

export default (): Promise<Address> =>
  new Promise((resolve, reject) => {
    const server = new GrpcJs.Server()
    server.addService(definition, { echo })
    server.bindAsync("127.0.0.1:0", GrpcJs.ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) resolve({ port })
      else reject(error)
    })
  })

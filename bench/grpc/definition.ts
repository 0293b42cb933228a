/** The service as code that was generated for grpc-js has it: messages are plain objects, the codec is compiled by protobufjs. */
import type * as GrpcJs from "@grpc/grpc-js"
import { readFileSync } from "node:fs"
import { parse } from "protobufjs"

export interface Message {
  readonly id: string
  /** As protobufjs has it, of a message that came: an object of the package `long`. */
  readonly seq: number | { readonly toString: () => string }
  readonly payload: Uint8Array
}

export interface Wanted {
  readonly count: number
}

export interface Summary {
  readonly count: number
  readonly bytes: number | { readonly toString: () => string }
}

const { root } = parse(readFileSync(new URL("bench.proto", import.meta.url), "utf8"))

/** Both directions of a message; what is compiled is what protobufjs writes into a file when it generates code. */
const codecOf = <A extends object>(name: string) => {
  const type = root.lookupType(name)
  return {
    serialize: (value: A): Buffer => {
      const bytes = type.encode(value).finish()
      return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes)
    },
    deserialize: (bytes: Buffer): A => {
      // decoded by the type, which is that of A
      const message: any = type.decode(bytes)
      return message
    }
  }
}

const message = codecOf<Message>("bench.v1.Message")
const wanted = codecOf<Wanted>("bench.v1.Wanted")
const summary = codecOf<Summary>("bench.v1.Summary")

export const encodeMessage = message.serialize

export const encodeSummary = summary.serialize

export const Bench = {
  echo: {
    path: "/bench.v1.Bench/Echo",
    requestStream: false,
    responseStream: false,
    requestSerialize: message.serialize,
    requestDeserialize: message.deserialize,
    responseSerialize: message.serialize,
    responseDeserialize: message.deserialize
  },
  down: {
    path: "/bench.v1.Bench/Down",
    requestStream: false,
    responseStream: true,
    requestSerialize: wanted.serialize,
    requestDeserialize: wanted.deserialize,
    responseSerialize: message.serialize,
    responseDeserialize: message.deserialize
  },
  up: {
    path: "/bench.v1.Bench/Up",
    requestStream: true,
    responseStream: false,
    requestSerialize: message.serialize,
    requestDeserialize: message.deserialize,
    responseSerialize: summary.serialize,
    responseDeserialize: summary.deserialize
  }
} as const satisfies GrpcJs.ServiceDefinition

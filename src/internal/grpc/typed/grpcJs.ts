import * as Result from "effect/Result"
import type { MethodKind } from "../definition.ts"
import { type CompiledFile, fromDescriptors } from "../proto/compile.ts"
import { descriptorsOf } from "../proto/packageDefinition.ts"
import { foreignCodec, type MethodTypes, namesOf, type TypedMethod } from "./typedMethod.ts"

/** One method of a service definition of grpc-js. */
export interface GrpcJsMethod {
  /** `"/acme.Orders/Create"`. */
  readonly path: string
  readonly requestStream: boolean
  readonly responseStream: boolean
  // methods, so that a function of any one type of message is one
  requestSerialize(value: unknown): Uint8Array
  requestDeserialize(bytes: Buffer): unknown
  responseSerialize(value: unknown): Uint8Array
  responseDeserialize(bytes: Buffer): unknown
}

/**
 * A service definition of grpc-js, as ts-proto (`outputServices=grpc-js`), grpc-tools and others generate them. Types are
 * exact where `requestStream` and `responseStream` are `true` or `false` and not just `boolean`.
 */
export interface GrpcJsService {
  readonly [key: string]: GrpcJsMethod
}

/** Both flags may be unions, and then so is the kind. */
type KindOf<RequestStream extends boolean, ResponseStream extends boolean> = RequestStream extends true
  ? ResponseStream extends true ? "bidi" : "clientStream"
  : ResponseStream extends true ? "serverStream"
  : "unary"

/** Methods by name: types of definitions often have an index signature beside them, which would permit any name. */
type Named<S> = { readonly [K in keyof S as string extends K ? never : K]: S[K] }

type TypesOf<S> = {
  readonly [K in keyof S]: S[K] extends GrpcJsMethod ? MethodTypes<
      KindOf<S[K]["requestStream"], S[K]["responseStream"]>,
      Parameters<S[K]["requestSerialize"]>[0],
      ReturnType<S[K]["requestDeserialize"]>,
      Parameters<S[K]["responseSerialize"]>[0],
      ReturnType<S[K]["responseDeserialize"]>
    >
    : never
}

/** What the types of a definition say of its methods. */
export type GrpcJsMethods<S extends GrpcJsService> = [keyof Named<S>] extends [never] ? TypesOf<S> : TypesOf<Named<S>>

const kindOf = ({ requestStream, responseStream }: GrpcJsMethod): MethodKind =>
  requestStream
    ? responseStream ? "bidi" : "clientStream"
    : responseStream
    ? "serverStream"
    : "unary"

/** The methods of a definition of grpc-js. */
export const definitionsOf = (definition: GrpcJsService): ReadonlyArray<TypedMethod> =>
  Object.entries(definition).map(([key, method]) => {
    const { name, path, service } = namesOf(method.path)
    return {
      key,
      path,
      service,
      name,
      kind: kindOf(method),
      request: foreignCodec(
        path,
        "request",
        (value) => method.requestSerialize(value),
        // a copy: what is decoded can hold views of it
        (bytes) => method.requestDeserialize(Buffer.from(bytes))
      ),
      response: foreignCodec(
        path,
        "response",
        (value) => method.responseSerialize(value),
        (bytes) => method.responseDeserialize(Buffer.from(bytes))
      )
    }
  })

/** The files that proto-loader puts beside its methods; other generators do not. */
export const filesOf = (definition: GrpcJsService): ReadonlyArray<CompiledFile> =>
  Result.match(fromDescriptors(descriptorsOf({ definition })), {
    onFailure: () => [],
    onSuccess: ({ files }) => files
  })

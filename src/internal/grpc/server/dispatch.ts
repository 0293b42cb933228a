import type * as Http2 from "node:http2"
import { namesOf } from "../typed/typedMethod.ts"
import { compressionOf } from "../wire/compression.ts"
import { type RawHeaders, single } from "../wire/metadata.ts"
import { Code, encodeMessage } from "../wire/status.ts"
import type { ServerStream } from "../wire/streams.ts"
import { decodeTimeout } from "../wire/timeout.ts"
import { Call, type CallConnection, type CallSettings } from "./call.ts"
import { responseHeaders } from "./response.ts"
import type { Routes } from "./route.ts"

/** What is said to a call that nobody handles. */
interface Refusal {
  readonly http: number
  readonly code: number
  readonly message: string
}

const refusal = (code: number, message: string, http = 200): Refusal => ({ http, code, message })

const unknown = ({ services }: Routes, path: string): Refusal => {
  if (!/^\/[^/]+\/[^/]+$/.test(path)) return refusal(Code.unimplemented, `"${path}" is not the path of a method`)
  const { name, service } = namesOf(path)
  return refusal(
    Code.unimplemented,
    services.has(service) ? `the service ${service} has no method ${name}` : `there is no service ${service}`
  )
}

const isGrpc = (contentType: string | undefined) =>
  contentType !== undefined && /^application\/grpc(?:$|[+;])/i.test(contentType)

/** What can be wrong with a call before its method is known. gRPC's own servers tell it in the same words of HTTP. */
const problemOf = (headers: Http2.IncomingHttpHeaders): Refusal | undefined => {
  if (headers[":method"] !== "POST") {
    return refusal(Code.internal, `a call is a POST and not a ${headers[":method"]}`, 405)
  }
  const contentType = headers["content-type"]
  return isGrpc(contentType)
    ? undefined
    : refusal(Code.invalidArgument, `the content type ${contentType ?? "(none)"} is not application/grpc`, 415)
}

const refuse = (stream: ServerStream, { code, http, message }: Refusal): void => {
  // what still comes of it is of no interest
  stream.on("error", () => {})
  if (stream.destroyed || stream.closed) return
  stream.respond({
    ...responseHeaders,
    ":status": http,
    "grpc-status": String(code),
    "grpc-message": encodeMessage(message)
  }, { endStream: true })
}

/** Takes a stream that a client has opened and has the method's handler answer it, where there is one. */
export const dispatch = (
  settings: CallSettings,
  connection: CallConnection,
  routes: Routes,
  stream: ServerStream,
  headers: Http2.IncomingHttpHeaders,
  raw: RawHeaders
): void => {
  const problem = problemOf(headers)
  if (problem !== undefined) return refuse(stream, problem)
  const path = headers[":path"] ?? ""
  const route = routes.methods.get(path)
  if (route === undefined) return refuse(stream, unknown(routes, path))
  const encoding = single(raw, "grpc-encoding")
  const compression = compressionOf(encoding)
  if (compression === undefined) {
    return refuse(stream, refusal(Code.unimplemented, `messages packed with ${encoding} cannot be unpacked`))
  }
  const timeout = single(raw, "grpc-timeout")
  const millis = timeout === undefined ? undefined : decodeTimeout(timeout)
  if (timeout !== undefined && millis === undefined) {
    return refuse(stream, refusal(Code.internal, `the grpc-timeout ${timeout} makes no sense`, 400))
  }
  // gone before we looked at it
  if (stream.destroyed || stream.closed) return
  const authority = headers[":authority"] ?? headers.host ?? ""
  new Call(settings, connection, route, stream, { headers: raw, authority, compression, timeout: millis }).start()
}

/**
 * An HTTP proxy in this process that knows the CONNECT method (RFC 9110, section 9.3.6), with Basic credentials if asked
 * for (RFC 7617).
 */
import * as Effect from "effect/Effect"
import type { Socket } from "node:net"
import { connect, hangUp, relay, serve, takeUntil } from "./loopback.ts"

export interface HttpProxyOptions {
  /** Demand these credentials. */
  readonly credentials?: { readonly username: string; readonly password: string } | undefined
  /** Where a name leads. Default: the system's resolver decides. */
  readonly resolve?: ((name: string) => string) | undefined
}

/** `host:port`, with the brackets of an IPv6 address taken off the host. */
const authority = /^\[?(.+?)\]?:(\d+)$/

/** Runs a proxy until the scope closes. `seen` lists the targets that were asked for, as `host:port`. */
export const httpProxy = Effect.fnUntraced(function*({ credentials, resolve }: HttpProxyOptions = {}) {
  const seen: Array<string> = []
  const expected = credentials === undefined
    ? undefined
    : `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString("base64")}`

  const handle = Effect.fnUntraced(function*(socket: Socket) {
    const [request = "", ...headers] = String(yield* takeUntil(socket, "\r\n\r\n")).split("\r\n")
    const refuse = (status: string, header = "") =>
      hangUp(socket, `HTTP/1.1 ${status}\r\n${header}Content-Length: 0\r\n\r\n`)

    const sent = headers.find((header) => /^proxy-authorization:/i.test(header))?.replace(/^[^:]*:\s*/, "")
    if (expected !== undefined && sent !== expected) {
      return yield* refuse("407 Proxy Authentication Required", "Proxy-Authenticate: Basic realm=\"peers\"\r\n")
    }
    const [method, target = ""] = request.split(" ")
    if (method !== "CONNECT") return yield* refuse("405 Method Not Allowed", "Allow: CONNECT\r\n")
    const [, host = "", port = ""] = authority.exec(target) ?? []
    seen.push(target)
    const peer = yield* Effect.catch(connect(resolve?.(host) ?? host, Number(port)), () => refuse("502 Bad Gateway"))
    socket.write("HTTP/1.1 200 Connection established\r\n\r\n")
    return yield* relay(socket, peer)
  })

  return { port: yield* serve(handle), seen }
})

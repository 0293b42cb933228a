/**
 * A SOCKS proxy in this process: SOCKS5 (RFC 1928), with a username and password if asked for (RFC 1929), and SOCKS4 with
 * names (4a). CONNECT only.
 */
import * as Effect from "effect/Effect"
import type { Socket } from "node:net"
import { connect, type Gone, hangUp, relay, serve, take, takeUntil } from "./loopback.ts"

export interface SocksProxyOptions {
  /** Demand these credentials. SOCKS4 has no passwords and is then refused. */
  readonly credentials?: { readonly username: string; readonly password: string } | undefined
  /** Where a name leads. Default: the system's resolver decides. */
  readonly resolve?: ((name: string) => string) | undefined
}

const socks4Granted = Buffer.of(0, 90, 0, 0, 0, 0, 0, 0)
const socks4Refused = Buffer.of(0, 91, 0, 0, 0, 0, 0, 0)

/** A reply of SOCKS5 with a code and no bound address. */
const reply = (code: number) => Buffer.of(5, code, 0, 1, 0, 0, 0, 0, 0, 0)

const replyCode = ({ code }: Gone) => code === "ECONNREFUSED" ? 5 : code === "ENOTFOUND" ? 4 : 1

const byte = (socket: Socket) => Effect.map(take(socket, 1), (bytes) => bytes.readUInt8())

const text = (socket: Socket, size: number) => Effect.map(take(socket, size), String)

const shortText = (socket: Socket) => Effect.flatMap(byte(socket), (size) => text(socket, size))

const textUntilNul = (socket: Socket) => Effect.map(takeUntil(socket, "\0"), (bytes) => String(bytes.subarray(0, -1)))

const groups = (bytes: Buffer) => Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(2 * i).toString(16)).join(":")

/** The address of a SOCKS5 request, by its type: IPv4, a name, or IPv6. */
const address = (socket: Socket, type: number) =>
  type === 1
    ? Effect.map(take(socket, 4), (bytes) => bytes.join("."))
    : type === 3
    ? shortText(socket)
    : Effect.map(take(socket, 16), groups)

/** Runs a proxy until the scope closes. `seen` lists the targets that were asked for, as `host:port`. */
export const socksProxy = Effect.fnUntraced(function*({ credentials, resolve }: SocksProxyOptions = {}) {
  const seen: Array<string> = []

  const tunnel = Effect.fnUntraced(function*(host: string, port: number) {
    seen.push(`${host}:${port}`)
    return yield* connect(resolve?.(host) ?? host, port)
  })

  const socks5 = Effect.fnUntraced(function*(socket: Socket) {
    const method = credentials === undefined ? 0 : 2
    const offered = yield* take(socket, yield* byte(socket))
    if (!offered.includes(method)) return yield* hangUp(socket, Buffer.of(5, 0xff))
    socket.write(Buffer.of(5, method))
    if (credentials !== undefined) {
      yield* take(socket, 1)
      const username = yield* shortText(socket)
      const password = yield* shortText(socket)
      const right = username === credentials.username && password === credentials.password
      if (!right) return yield* hangUp(socket, Buffer.of(1, 1))
      socket.write(Buffer.of(1, 0))
    }
    const [, command, , type = 0] = yield* take(socket, 4)
    const host = yield* address(socket, type)
    const port = (yield* take(socket, 2)).readUInt16BE()
    if (command !== 1) return yield* hangUp(socket, reply(7))
    const peer = yield* Effect.catch(tunnel(host, port), (error) => hangUp(socket, reply(replyCode(error))))
    socket.write(reply(0))
    return yield* relay(socket, peer)
  })

  const socks4 = Effect.fnUntraced(function*(socket: Socket) {
    const command = yield* byte(socket)
    const port = (yield* take(socket, 2)).readUInt16BE()
    const ip = yield* take(socket, 4)
    yield* textUntilNul(socket)
    // SOCKS4a: the address 0.0.0.x, which is nobody's, announces a name
    const host = ip.readUInt32BE() < 256 ? yield* textUntilNul(socket) : ip.join(".")
    if (command !== 1 || credentials !== undefined) return yield* hangUp(socket, socks4Refused)
    const peer = yield* Effect.catch(tunnel(host, port), () => hangUp(socket, socks4Refused))
    socket.write(socks4Granted)
    return yield* relay(socket, peer)
  })

  const port = yield* serve((socket) =>
    Effect.flatMap(
      byte(socket),
      (version) => version === 5 ? socks5(socket) : version === 4 ? socks4(socket) : Effect.void
    )
  )
  return { port, seen }
})

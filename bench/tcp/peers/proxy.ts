/** A raw proxy for SOCKS5 without authentication and for HTTP CONNECT, by the first byte that it gets. */
import * as Net from "node:net"
import type { Address } from "../../harness/benchmark.ts"
import { clientOptions } from "./protocol.ts"
import { serve } from "./server.ts"

const relay = (client: Net.Socket, port: number, granted: Uint8Array | string) => {
  const target = Net.connect({ ...clientOptions, port }, () => {
    client.write(granted)
    client.pipe(target)
    target.pipe(client)
  })
  target.on("error", () => client.destroy())
  client.on("close", () => target.destroy())
}

const socksGranted = Buffer.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0)

/** Requests come in one piece each: proxies on loopback need not read them from several. */
const onRequest = (client: Net.Socket, request: Buffer): void => {
  client.pause()
  if (request[0] !== 5) {
    const [, port] = /^CONNECT \S+:(\d+) /.exec(request.toString("latin1")) ?? []
    return relay(client, Number(port), "HTTP/1.1 200 Connection established\r\n\r\n")
  }
  client.once("data", (asked) => {
    client.pause()
    relay(client, asked.readUInt16BE(asked.length - 2), socksGranted)
  })
  client.write(Buffer.of(5, 0))
  client.resume()
}

const proxy = () => serve((client) => void client.once("data", (request) => onRequest(client, request)))

/** A server's start, with a proxy in front of it. */
export const behindProxy = (start: () => Promise<Address>) => async (): Promise<Address> => {
  const [{ port }, { port: via }] = await Promise.all([start(), proxy()])
  return { port, via }
}

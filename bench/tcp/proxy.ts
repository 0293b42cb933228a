/** Bulk and ping-pong through a proxy, by SOCKS5 (RFC 1928) and by HTTP CONNECT. */
import { Proxy } from "hawser"
import type { Socket } from "node:net"
import type { Pair, Suite } from "../harness/benchmark.ts"
import type { Path } from "./hawser.ts"
import { asking } from "./peers/ask.ts"
import { connect, type Open } from "./peers/connect.ts"
import { hawser as hawserAsking } from "./pingPong.ts"
import { byStream, hawser, rawReceive } from "./transfer.ts"

const socks5: Path = ({ via }) => Proxy.layer(`socks5://127.0.0.1:${via}`)
const http: Path = ({ via }) => Proxy.layer(`http://127.0.0.1:${via}`)

/** Asks, and waits for an answer that is complete with its `size`th byte; what follows stays in the socket. */
const ask = (socket: Socket, request: Uint8Array | string, size: (soFar: Buffer) => number): Promise<void> =>
  new Promise((resolve) => {
    let soFar = Buffer.alloc(0)
    const onReadable = () => {
      for (let bytes: Buffer | null; (bytes = socket.read()) !== null;) {
        soFar = Buffer.concat([soFar, bytes])
        const end = size(soFar)
        if (end > soFar.length) continue
        socket.off("readable", onReadable)
        if (end < soFar.length) socket.unshift(soFar.subarray(end))
        return resolve()
      }
    }
    socket.on("readable", onReadable)
    socket.write(request)
  })

const openSocks5: Open = async ({ port, via = 0 }) => {
  const socket = await connect({ port: via })
  await ask(socket, Buffer.of(5, 1, 0), () => 2)
  await ask(socket, Buffer.of(5, 1, 0, 1, 127, 0, 0, 1, port >> 8, port & 0xff), () => 10)
  return socket
}

const openHttp: Open = async ({ port, via = 0 }) => {
  const socket = await connect({ port: via })
  const end = "\r\n\r\n"
  await ask(socket, `CONNECT 127.0.0.1:${port} HTTP/1.1\r\nHost: 127.0.0.1:${port}${end}`, (soFar) => {
    const at = soFar.indexOf(end)
    return at === -1 ? Infinity : at + end.length
  })
  return socket
}

const pairs: ReadonlyArray<Pair> = [
  { contender: "hawser", baseline: "raw", atLeast: 0.97 },
  { contender: "hawser-http", baseline: "raw-http", atLeast: 0.97 }
]

const concurrency = 64

const suite: Suite = {
  url: import.meta.url,
  benchmarks: [
    {
      name: "proxy bulk",
      unit: "MiB",
      checkLimit: 1,
      measures: "client",
      peer: new URL("peers/proxiedSource.ts", import.meta.url),
      contenders: {
        "hawser": hawser(byStream, socks5),
        "raw": rawReceive(openSocks5),
        "hawser-http": hawser(byStream, http),
        "raw-http": rawReceive(openHttp)
      },
      pairs
    },
    {
      name: "proxy ping-pong",
      unit: "requests",
      checkLimit: 100,
      measures: "client",
      peer: new URL("peers/proxiedAnswerer.ts", import.meta.url),
      contenders: {
        "hawser": hawserAsking(concurrency, socks5),
        "raw": asking(concurrency, openSocks5),
        "hawser-http": hawserAsking(concurrency, http),
        "raw-http": asking(concurrency, openHttp)
      },
      pairs
    }
  ]
}

export default suite

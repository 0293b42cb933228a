/**
 * The server of the streams, of `node:http2` alone: one of grpc-js would take longer for each message than its clients, and
 * be what is measured.
 */
import * as Http2 from "node:http2"
import type { Address } from "../../harness/benchmark.ts"
import { listen } from "../../tcp/peers/server.ts"
import { encodeMessage, encodeSummary } from "../definition.ts"
import { messageAt, streamLength } from "../messages.ts"

const prefixSize = 5

/** A message as it goes over a stream: not compressed, its length, its bytes. */
const framed = (message: Buffer): Buffer => {
  const frame = Buffer.alloc(prefixSize + message.length)
  frame.writeUInt32BE(message.length, 1)
  frame.set(message, prefixSize)
  return frame
}

const begin = (stream: Http2.ServerHttp2Stream): void => {
  stream.respond({ ":status": 200, "content-type": "application/grpc+proto" }, { waitForTrailers: true })
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }))
}

/** What goes out with one write. */
const together = 100

const writes = Array.from({ length: streamLength / together }, (_, write) =>
  Buffer.concat(
    Array.from({ length: together }, (_, index) => framed(encodeMessage(messageAt(write * together + index))))
  ))

const down = (stream: Http2.ServerHttp2Stream): void => {
  begin(stream.resume())
  let next = 0
  const pour = () => {
    while (next < writes.length) {
      if (!stream.write(writes[next++])) {
        stream.once("drain", pour)
        return
      }
    }
    stream.end()
  }
  pour()
}

/** Counts messages by their prefixes, which may come in pieces. */
const up = (stream: Http2.ServerHttp2Stream): void => {
  let count = 0
  let bytes = 0
  let left: Buffer = Buffer.alloc(0)
  stream.on("data", (chunk: Buffer) => {
    const all = left.length === 0 ? chunk : Buffer.concat([left, chunk])
    let at = 0
    while (all.length - at >= prefixSize) {
      const size = all.readUInt32BE(at + 1)
      if (all.length - at < prefixSize + size) break
      at += prefixSize + size
      bytes += size
      count++
    }
    left = all.subarray(at)
  })
  stream.on("end", () => {
    begin(stream)
    stream.end(framed(encodeSummary({ count, bytes })))
  })
}

export default (): Promise<Address> => {
  const server = Http2.createServer()
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {})
    return headers[":path"] === "/bench.v1.Bench/Down" ? down(stream) : up(stream)
  })
  return listen(server)
}

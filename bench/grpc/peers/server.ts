/**
 * Gives back what it gets, in frames of HTTP/2 that are written by hand (RFC 9113): a server of grpc-js takes as long for a
 * call as a client, and half of what is measured would be that. Headers are not read, as there is only one method.
 */
import * as Net from "node:net"
import type { Address } from "../../harness/benchmark.ts"
import { listen } from "../../tcp/peers/server.ts"

const prefaceSize = 24
const headSize = 9

const type = { data: 0, headers: 1, settings: 4, ping: 6, windowUpdate: 8 }
const endStream = 1
const ack = 1
const endHeaders = 4

const frame = (kind: number, flags: number, stream: number, payload: Uint8Array): Buffer => {
  const bytes = Buffer.allocUnsafe(headSize + payload.length)
  bytes.writeUIntBE(payload.length, 0, 3)
  bytes[3] = kind
  bytes[4] = flags
  bytes.writeUInt32BE(stream, 5)
  bytes.set(payload, headSize)
  return bytes
}

const text = (value: string) => [value.length, ...Buffer.from(value)]

// HPACK (RFC 7541): entry 8 of the static table is ":status: 200", 31 is "content-type"; nothing is put into a table
const headers = Uint8Array.from([0x88, 0x0f, 31 - 0x0f, ...text("application/grpc+proto")])
const trailers = Uint8Array.from([0x00, ...text("grpc-status"), ...text("0")])

/** How many bytes are taken before the client hears that it may send as many more. */
const windowStep = 16_384

const serve = (socket: Net.Socket): void => {
  let left: Buffer = Buffer.alloc(0)
  let greeted = false
  let taken = 0
  /** Messages that are not whole yet. */
  const begun = new Map<number, Buffer>()

  const answer = (kind: number, flags: number, stream: number, payload: Buffer): ReadonlyArray<Buffer> => {
    if (kind === type.settings) return (flags & ack) === 0 ? [frame(type.settings, ack, 0, new Uint8Array())] : []
    if (kind === type.ping) return (flags & ack) === 0 ? [frame(type.ping, ack, 0, payload)] : []
    if (kind !== type.data) return []
    const out: Array<Buffer> = []
    taken += payload.length
    if (taken >= windowStep) {
      const size = Buffer.alloc(4)
      size.writeUInt32BE(taken)
      taken = 0
      out.push(frame(type.windowUpdate, 0, 0, size))
    }
    const before = begun.get(stream)
    const message = before === undefined ? payload : Buffer.concat([before, payload])
    if ((flags & endStream) === 0) begun.set(stream, Buffer.from(message))
    else {
      begun.delete(stream)
      out.push(
        frame(type.headers, endHeaders, stream, headers),
        frame(type.data, 0, stream, message),
        frame(type.headers, endHeaders | endStream, stream, trailers)
      )
    }
    return out
  }

  socket.setNoDelay()
  socket.write(frame(type.settings, 0, 0, new Uint8Array()))
  socket.on("data", (chunk: Buffer) => {
    const all = left.length === 0 ? chunk : Buffer.concat([left, chunk])
    const out: Array<Buffer> = []
    let at = 0
    if (!greeted) {
      if (all.length < prefaceSize) {
        left = all
        return
      }
      greeted = true
      at = prefaceSize
    }
    while (all.length - at >= headSize) {
      const end = at + headSize + all.readUIntBE(at, 3)
      if (end > all.length) break
      out.push(...answer(all[at + 3]!, all[at + 4]!, all.readUInt32BE(at + 5), all.subarray(at + headSize, end)))
      at = end
    }
    left = all.subarray(at)
    if (out.length > 0) socket.write(Buffer.concat(out))
  })
  socket.on("end", () => socket.end()).on("error", () => socket.destroy())
}

export default (): Promise<Address> => listen(Net.createServer({ allowHalfOpen: true }, serve))

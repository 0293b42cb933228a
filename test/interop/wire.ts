/** How many bytes go over the connections of a server, below TLS: what tells compressed messages from others. */
import * as Effect from "effect/Effect"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import type * as Listener from "../../src/services/Listener.ts"

/** Bytes so far, as the server sees them. */
export interface Wire {
  readonly received: () => number
  readonly sent: () => number
}

const counts = (duplex: Duplex): Wire => {
  // what node:http2 takes over it reads and writes without the stream, but not without the system's socket
  if (duplex instanceof Net.Socket) return { received: () => duplex.bytesRead, sent: () => duplex.bytesWritten }
  let received = 0
  let sent = 0
  const push = duplex.push.bind(duplex)
  duplex.push = (chunk, encoding) => {
    if (chunk !== null) received += chunk.length
    return push(chunk, encoding)
  }
  const write = duplex._write.bind(duplex)
  duplex._write = (chunk, encoding, done) => {
    sent += chunk.length
    write(chunk, encoding, done)
  }
  return { received: () => received, sent: () => sent }
}

/** A Listener that counts. */
export const counted = (
  listener: Listener.Listener["Service"]
): { readonly listener: Listener.Listener["Service"]; readonly wire: Wire } => {
  const connections: Array<Wire> = []
  const count = <D extends Duplex>(duplex: D): D => {
    connections.push(counts(duplex))
    return duplex
  }
  const sum = (of: (wire: Wire) => number) => connections.reduce((total, wire) => total + of(wire), 0)
  return {
    listener: {
      bind: (address, options) =>
        Effect.map(listener.bind(address, options), (bound) => ({
          ...bound,
          accept: Effect.map(bound.accept, count),
          receive: (receiver) =>
            bound.receive({
              ready: () => receiver.ready(),
              take: (duplex) => receiver.take(count(duplex)),
              closed: () => receiver.closed()
            })
        }))
    },
    wire: { received: () => sum(({ received }) => received()), sent: () => sum(({ sent }) => sent()) }
  }
}

/** More than everything that is not payload in one call: a TLS handshake, headers, frames, a payload of zeros compressed. */
const overhead = 8192

/** Whether so many bytes were payloads of this size in all, those that are compressed being next to nothing. */
export const carries = (bytes: number, size: number): boolean => bytes >= size && bytes < size + overhead

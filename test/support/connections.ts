/** Both ends of a connection, as `Connection`s, over whatever network the test runs on. */
import * as Effect from "effect/Effect"
import * as NetAddress from "effect/net/NetAddress"
import type { Duplex } from "node:stream"
import * as Connection from "../../src/services/Connection.ts"
import { ScriptedDuplex } from "./scripted.ts"
import { connected } from "./streams.ts"

/** Two ends of one connection that knows who dialled, and the streams below them. */
export const connectedPair = Effect.gen(function*() {
  const { bound, client, server } = yield* connected()
  return {
    client: yield* Connection.fromDuplex(client, { target: NetAddress.formatSocketAddress(bound.address) }),
    server: yield* Connection.fromDuplex(server, { role: "accepted" }),
    streams: { client, server }
  }
})

/** A connection over a stream that the test plays. */
export const scriptedConnection = Effect.gen(function*() {
  const peer = new ScriptedDuplex()
  const connection = yield* Connection.fromDuplex(peer)
  return { peer, connection }
})

/** Bytes of which each place can be told from its neighbours. */
export const pattern = (length: number) => Buffer.alloc(length, Buffer.from(Array.from({ length: 251 }, (_, i) => i)))

/** Breaks a stream as a peer's reset does. */
export const breakWith = (duplex: Duplex, code: string) =>
  Effect.sync(() => void duplex.destroy(Object.assign(new Error(code), { code })))

/** Servers of Node's own HTTP/2, for what the tests of gRPC's connections have to see and do. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Http2 from "node:http2"
import type { Duplex } from "node:stream"
import type { Target } from "../../src/internal/net/target.ts"
import { parse } from "../../src/internal/net/target.ts"
import * as Listener from "../../src/services/Listener.ts"

/** What a server has accepted, and what it was asked. */
export interface Http2Peer {
  readonly target: Target
  /** The next session whose client has said its settings. */
  readonly nextSession: Effect.Effect<Http2.ServerHttp2Session>
  readonly nextStream: Effect.Effect<Http2.ServerHttp2Stream>
  /** Those that are open. */
  readonly sessions: ReadonlySet<Http2.ServerHttp2Session>
  /** Goes away: nobody listens any more, and its sessions are destroyed. */
  readonly close: Effect.Effect<void>
  /** The streams that they run over. */
  readonly duplexes: ReadonlyArray<Duplex>
}

/** A server over whatever network the test is on, which answers nothing by itself. */
export const http2Peer = Effect.fnUntraced(function*(
  options: { readonly host?: string; readonly port?: number; readonly settings?: Http2.Settings } = {}
): Effect.fn.Return<Http2Peer, never, Listener.Listener | Scope.Scope> {
  const scope = yield* Effect.flatMap(Effect.scope, (scope) => Scope.fork(scope))
  const listener = yield* Listener.Listener
  const { host = "127.0.0.1", port = 0 } = options
  const { accept, address } = yield* Effect.orDie(Scope.provide(listener.bind({ host, port }), scope))
  const sessions = new Set<Http2.ServerHttp2Session>()
  const duplexes: Array<Duplex> = []
  const arrived = yield* Queue.unbounded<Http2.ServerHttp2Session>()
  const asked = yield* Queue.unbounded<Http2.ServerHttp2Stream>()
  const server = Http2.createServer({ settings: options.settings ?? {} })
  server.on("session", (session) => {
    sessions.add(session)
    session.on("error", () => {}).once("close", () => sessions.delete(session)).once("remoteSettings", () => {
      Queue.offerUnsafe(arrived, session)
    })
  }).on("stream", (stream) => {
    stream.on("error", () => {})
    Queue.offerUnsafe(asked, stream)
  })
  yield* accept.pipe(
    Effect.tap((duplex) =>
      Effect.sync(() => {
        duplexes.push(duplex)
        // as a server's sockets do that are not half-open
        duplex.once("end", () => duplex.destroy())
        server.emit("connection", duplex)
      })
    ),
    Effect.forever,
    Effect.ignore,
    Effect.forkIn(scope)
  )
  yield* Scope.addFinalizer(
    scope,
    Effect.sync(() => {
      for (const session of sessions) session.destroy()
    })
  )
  // a name stays when the address of its host changes
  const target = Result.getOrThrow(parse(port === 0 ? address : { host, port }))
  const close = Scope.close(scope, Exit.void)
  return { target, close, nextSession: Queue.take(arrived), nextStream: Queue.take(asked), sessions, duplexes }
})

/** A frame as it is on the wire (RFC 9113, section 4.1). */
export const frame = (type: keyof typeof frameTypes, payload: Uint8Array = new Uint8Array(0), flags = 0): Buffer => {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = frameTypes[type]
  head[4] = flags
  return Buffer.concat([head, payload])
}

const frameTypes = { settings: 4, ping: 6, goaway: 7 }

/** What a GOAWAY frame holds. */
export const goaway = (code: number, words: string): Buffer => {
  const head = Buffer.alloc(8)
  head.writeUInt32BE(code, 4)
  return frame("goaway", Buffer.concat([head, Buffer.from(words)]))
}

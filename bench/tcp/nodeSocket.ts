/** Effect's own sockets as the benchmarks use them: open until the process ends. */
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
import * as Effect from "effect/Effect"
import * as NetAddress from "effect/net/NetAddress"
import * as Scope from "effect/Scope"
import type { Socket, SocketError } from "effect/socket/Socket"
import type { Address } from "../harness/benchmark.ts"
import { clientOptions, serverOptions } from "./peers/protocol.ts"

export const dial = ({ port }: Address) => NodeSocket.makeNet({ ...clientOptions, port })

/** Both directions of a socket, for as long as the scope lives. */
export const open = Effect.fnUntraced(function*(socket: Socket) {
  const { pull } = yield* socket.reader
  const { write, writeAll } = yield* socket.writer
  return { pull, write, writeAll }
})

export const serve = (
  handler: (socket: Socket) => Effect.Effect<unknown, SocketError, Scope.Scope>
): Promise<Address> =>
  Effect.runPromise(
    Effect.gen(function*() {
      const server = yield* NodeSocketServer.make({ ...serverOptions, host: "127.0.0.1", port: 0 })
      // a socket ends by failing, also when the peer has just said good-bye
      yield* Effect.forkDetach(server.run((socket) => Effect.ignore(Effect.scoped(handler(socket)))))
      return { port: NetAddress.isInetAddress(server.address) ? server.address.port : 0 }
    }).pipe(Scope.provide(Scope.makeUnsafe()))
  )

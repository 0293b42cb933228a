/** Our own server, for the clients among other people's programs. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { formatSocketAddress } from "effect/net/NetAddress"
import * as Stream from "effect/Stream"
import type { TcpError } from "../../../src/errors/TcpError.ts"
import type { Connection } from "../../../src/services/Connection.ts"
import * as Listener from "../../../src/services/Listener.ts"
import * as TcpServer from "../../../src/services/TcpServer.ts"

/** Serves as long as the scope lives; gives where, as `host:port` or as the path of a unix socket. */
export const ourServer = Effect.fnUntraced(function*<E, R>(
  handler: (connection: Connection) => Effect.Effect<void, E, R>,
  options: TcpServer.Options = {}
) {
  const context = yield* Layer.build(TcpServer.layer(options).pipe(Layer.provide(Listener.layer)))
  const server = Context.get(context, TcpServer.TcpServer)
  yield* Effect.forkScoped(server.serve(handler))
  return formatSocketAddress(server.address)
})

/** Gives back what it gets until the client ends. */
export const echo = (connection: Connection): Effect.Effect<void, TcpError> =>
  Stream.run(connection.reads, connection.writes)

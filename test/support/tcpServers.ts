/** Servers of the test's own network, and clients of them. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { DialTarget } from "../../src/internal/net/target.ts"
import * as Connection from "../../src/services/Connection.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import type * as Mailbox from "../../src/services/Mailbox.ts"
import * as TcpServer from "../../src/services/TcpServer.ts"

/** A server that listens for as long as the scope lives. */
export const server = (options: TcpServer.Options = {}) =>
  Effect.map(
    Layer.build(TcpServer.layer({ port: 0, ...options })),
    (services) => Context.get(services, TcpServer.TcpServer)
  )

/** A server that runs until the scope ends, or until `fiber` is interrupted. */
export const serving = Effect.fnUntraced(function*(
  handler: (connection: Connection.Connection) => Effect.Effect<unknown, unknown>,
  options: TcpServer.Options = {}
) {
  const { address, serve } = yield* server({ drainTimeout: 0, ...options })
  const fiber = yield* Effect.forkScoped(serve((connection) => Effect.asVoid(handler(connection))), {
    startImmediately: true
  })
  return { address, fiber }
})

/** A client that leaves with the scope. */
export const connect = (target: DialTarget) =>
  Effect.flatMap(Dialer.Dialer.use((dialer) => dialer.dial(target)), (duplex) => Connection.fromDuplex(duplex))

/** Says a line and waits for the answer. */
export const ask = (connection: Connection.Connection, line: string) =>
  Effect.andThen(connection.write(`${line}\n`), connection.readLine())

/** Takes messages until those of one connection make up `text`; answers with their ids. */
export const collect = Effect.fnUntraced(function*(mailbox: Mailbox.ByteMailbox, text: string) {
  let got = ""
  let id = ""
  while (got.length < text.length) {
    const message = yield* mailbox.next()
    got += Buffer.from(message.data).toString()
    id = message.id
  }
  return { id, got }
})

/** Waits, turn by turn of the event loop, until something is so. */
export const eventually = (isSo: Effect.Effect<boolean>): Effect.Effect<void> =>
  Effect.flatMap(isSo, (so) =>
    so
      ? Effect.void
      : Effect.andThen(
        Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void))),
        eventually(isSo)
      ))

import { Effect, Stream } from "effect"
import { type Connection, Framing, TcpServer } from "hawser"

/** A chat server: what one says, a line at a time, all the others hear. */
export const chat = Effect.gen(function*() {
  const server = yield* TcpServer.TcpServer
  const members = new Set<Connection.Connection>()

  const join = (connection: Connection.Connection) =>
    Effect.acquireRelease(
      Effect.sync(() => members.add(connection)),
      () => Effect.sync(() => members.delete(connection))
    )

  const tellOthers = (speaker: Connection.Connection, line: string) =>
    Effect.forEach(
      [...members].filter((member) => member !== speaker),
      // a member that is gone is no trouble of the others
      (member) => Effect.ignore(member.write(`${line}\n`)),
      { concurrency: "unbounded", discard: true }
    )

  return yield* server.serve((connection) =>
    Effect.gen(function*() {
      yield* join(connection)
      yield* connection.write("welcome\n")
      yield* Stream.runForEach(connection.frames(Framing.lines()), (line) => tellOthers(connection, line))
    })
  )
})

import { Effect, Stream } from "effect"
import { type Connection, Framing } from "hawser"

export const read = Effect.fn(function*(connection: Connection.Connection) {
  yield* connection.read() // whatever is there
  yield* connection.read({ marker: "\n", timeout: "2 seconds" }) // up to and with a marker
  yield* connection.read({ marker: "\n", maxSize: 512 }) // the same, but never more than 512 bytes
  yield* connection.readExactly(16)
  yield* connection.readLine({ encoding: "windows-1251" })
  yield* Stream.runForEach(connection.frames(Framing.lines()), Effect.log) // lines, until the peer ends
})

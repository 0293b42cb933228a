/** redis's protocol over a `Connection`. */
import * as Effect from "effect/Effect"
import type { TcpError } from "../../../src/errors/TcpError.ts"
import type { Connection } from "../../../src/services/Connection.ts"

/** An answer of redis; an error answer is the text that begins with "-". */
export type Reply = string | number | null | ReadonlyArray<Reply>

/** A command as redis wants it: an array of bulk strings. */
export const command = (...words: ReadonlyArray<string>) =>
  `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("")}`

/** Reads one answer. Its strings are in `encoding`; latin1 has a character for each byte. */
export const reply = (
  connection: Connection,
  encoding: "utf8" | "latin1" = "utf8"
): Effect.Effect<Reply, TcpError> =>
  Effect.gen(function*() {
    const line = yield* connection.readLine()
    const count = Number(line.slice(1))
    switch (line[0]) {
      case ":":
        return count
      case "$":
        return count === -1 ? null : Buffer.from(yield* connection.readExactly(count + 2)).toString(encoding, 0, count)
      case "*":
        return yield* Effect.replicateEffect(reply(connection, encoding), count)
      case "+":
        return line.slice(1)
      default:
        return line
    }
  })

/** Asks and reads the answer. */
export const ask = (connection: Connection, ...words: ReadonlyArray<string>) =>
  Effect.andThen(connection.write(command(...words)), reply(connection))

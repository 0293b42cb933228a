/**
 * As much of a redis server as redis's own clients need, made of our server. Keys and values are bytes, and here texts with
 * a character for each (latin1).
 */
import * as Effect from "effect/Effect"
import type { Connection } from "../../../src/services/Connection.ts"
import type * as TcpServer from "../../../src/services/TcpServer.ts"
import { ourServer } from "./ourServer.ts"
import { type Reply, reply } from "./resp.ts"

const bulk = (text: string | undefined) => text === undefined ? "$-1\r\n" : `$${text.length}\r\n${text}\r\n`

const answer = (values: Map<string, string>, [name, ...words]: ReadonlyArray<string>): string => {
  switch (name?.toUpperCase()) {
    case "PING":
      return "+PONG\r\n"
    case "ECHO":
      return bulk(words[0])
    case "SET":
      values.set(words[0] ?? "", words[1] ?? "")
      return "+OK\r\n"
    case "GET":
      return bulk(values.get(words[0] ?? ""))
    default:
      return `-ERR unknown command '${name}'\r\n`
  }
}

/** Commands are written as answers are, as arrays of bulk strings; empty lines between them mean nothing. */
const wordsOf = (command: Reply): ReadonlyArray<string> => Array.isArray(command) ? command.map(String) : []

/** Serves as long as the scope lives; gives where. */
export const ourRedis = (options?: TcpServer.Options) => {
  const values = new Map<string, string>()
  const handler = (connection: Connection) =>
    Effect.forever(Effect.flatMap(reply(connection, "latin1"), (command) => {
      const words = wordsOf(command)
      return words.length === 0 ? Effect.void : connection.write(Buffer.from(answer(values, words), "latin1"))
    }))
  return ourServer(handler, options)
}

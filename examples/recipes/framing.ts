import { Schema, type Stream } from "effect"
import { type Connection, Framing } from "hawser"

const Event = Framing.ndjson(Schema.Struct({ at: Schema.Finite, name: Schema.String }), { maxSize: 64 * 1024 })

// on a connection, or on any stream of bytes: a file, the output of a command
export const events = (connection: Connection.Connection) => connection.frames(Event)
export const records = (bytes: Stream.Stream<Uint8Array>) =>
  bytes.pipe(Framing.decode(Framing.lengthPrefixed({ bytes: 4 })))
export const text = (bytes: Stream.Stream<Uint8Array>) => bytes.pipe(Framing.decodeText("shift_jis"))

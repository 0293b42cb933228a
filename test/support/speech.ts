/** Peers that say what they should, or nearly, or anything, in pieces, and stop when they like. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Duplex } from "node:stream"
import type { TcpError } from "../../src/errors/TcpError.ts"
import { reset } from "../../src/internal/net/relay.ts"
import * as Connection from "../../src/services/Connection.ts"
import { between } from "./cases.ts"
import { fragments } from "./fragments.ts"

/** How bytes get out of shape. */
export const Damage = Schema.Struct({
  changes: Schema.Array(Schema.Struct({ at: between(0, 999), byte: between(0, 255) })).check(Schema.isMaxLength(3)),
  inserted: Schema.Array(between(0, 255)).check(Schema.isMaxLength(6)),
  insertedAt: between(0, 999),
  /** Nothing of what should have been said is. */
  replaced: Schema.Boolean
})

/** How a peer says what it says. */
export const Speech = Schema.Struct({
  /** After how many thousandths of it it stops, and what it does then. */
  stop: Schema.NullOr(between(0, 999)),
  ending: Schema.Literals(["end", "reset", "silence"]),
  sizes: Schema.NonEmptyArray(Schema.Literals([1, 2, 7, 100, 65_536])).check(Schema.isMaxLength(4)),
  pause: Schema.Literals([0, 0, 0, 1, 30]),
  /** Speaks only when it has been spoken to. */
  polite: Schema.Boolean
})

export const damaged = (bytes: Buffer, damage: typeof Damage.Type | null): Buffer => {
  if (damage === null) return bytes
  const inserted = Buffer.from(damage.inserted)
  if (damage.replaced) return inserted
  const changed = Buffer.from(bytes)
  for (const { at, byte } of damage.changes) if (bytes.length > 0) changed[Math.floor(at * bytes.length / 1000)] = byte
  const at = Math.floor(damage.insertedAt * bytes.length / 1000)
  return Buffer.concat([changed.subarray(0, at), inserted, changed.subarray(at)])
}

/** What somebody is to say, and where their turns begin, before which they wait for an answer if they are polite. */
export interface Words {
  readonly bytes: Buffer
  readonly turns: ReadonlyArray<number>
  /** Whether the first turn is theirs without anybody having spoken. */
  readonly first: boolean
}

/** How far that goes. */
export const saidOf = (bytes: Buffer, { stop }: typeof Speech.Type): number =>
  stop === null ? bytes.length : Math.floor(stop * bytes.length / 1000)

/** Longer than the slowest link is silent, and than a dial may take over it. */
export const patience = Duration.minutes(10)

/** What arrives on a connection, until it is silent for too long. */
export const hearing = (connection: Connection.Connection, timeout = patience) => {
  const pieces: Array<Uint8Array> = []
  const next = Effect.tap(connection.read({ timeout }), (piece) => Effect.sync(() => pieces.push(piece)))
  /** All that arrives, and why there is no more. */
  const all = Effect.map(
    Effect.flip(Effect.forever(next)),
    ({ reason }) => ({ bytes: Buffer.concat(pieces), reason: reason._tag })
  )
  return { next, all }
}

/** Says something in pieces; waits each time that it is somebody else's turn until `next` is done. */
const say = Effect.fnUntraced(function*(
  connection: Connection.Connection,
  { bytes, first, turns }: Words,
  speech: typeof Speech.Type,
  next: Effect.Effect<unknown, TcpError>
) {
  const end = saidOf(bytes, speech)
  // what is long comes in pieces that are not too many
  const least = Math.ceil(end / 100)
  const sizes = speech.sizes.map((size) => Math.max(size, least))
  for (const [index, start] of turns.entries()) {
    if (start >= end) break
    if (speech.polite && (index > 0 || !first)) yield* next
    for (const piece of fragments(bytes.subarray(start, Math.min(turns[index + 1] ?? end, end)), sizes)) {
      if (speech.pause > 0) yield* Effect.sleep(speech.pause)
      yield* connection.write(piece)
    }
  }
  if (speech.ending === "end") yield* connection.closeWrite
})

/** Says something and gives what was said back, until the peer, who loses their patience first, has closed the stream. */
export const speaking = Effect.fnUntraced(function*(duplex: Duplex, words: Words, speech: typeof Speech.Type) {
  const connection = yield* Connection.fromDuplex(duplex)
  const { all, next } = hearing(connection, Duration.times(patience, 2))
  yield* Effect.ignore(say(connection, words, speech, next))
  if (speech.ending === "reset") reset(duplex)
  return yield* all
}, Effect.scoped)

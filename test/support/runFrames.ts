/** What the tests of push mode have in common. */
import * as Effect from "effect/Effect"
import * as Connection from "../../src/services/Connection.ts"
import * as Framing from "../../src/services/Framing.ts"
import { ScriptedDuplex } from "./scripted.ts"

/** A stream that shows in which packets its bytes leave. */
class PacketDuplex extends ScriptedDuplex {
  readonly packets: Array<string> = []
  override _write(chunk: Buffer, encoding: string, callback: () => void) {
    this.packets.push(String(chunk))
    super._write(chunk, encoding, callback)
  }
  override _writev(chunks: ReadonlyArray<{ readonly chunk: Buffer }>, callback: () => void) {
    this.packets.push(chunks.map(({ chunk }) => String(chunk)).join(""))
    callback()
  }
}

/** A connection over such a stream. */
export const packetConnection = Effect.gen(function*() {
  const peer = new PacketDuplex()
  const connection = yield* Connection.fromDuplex(peer)
  return { peer, connection }
})

export const lines = Framing.lines()

/** Runs a handler over the lines that arrive. */
export const running = <E, R>(
  connection: Connection.Connection,
  handler: (line: string) => Effect.Effect<unknown, E, R>
) => Effect.forkChild(connection.runFrames(lines, handler), { startImmediately: true })

/** A handler that notes what it is given. */
export const noting = () => {
  const seen: Array<string> = []
  return { seen, note: (line: string) => Effect.sync(() => void seen.push(line)) }
}

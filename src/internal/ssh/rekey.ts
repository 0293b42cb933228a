import * as Effect from "effect/Effect"
import type { Client } from "ssh2"
import type { ConnectionLost } from "../../errors/SshError.ts"
import type { Life } from "./connection.ts"
import * as Protocol from "./protocol.ts"

/** Has the two sides agree on new keys, and waits until they have. */
export const rekey = (
  client: Client,
  { lost, onLost }: Pick<Life, "lost" | "onLost">
): Effect.Effect<void, ConnectionLost> =>
  Effect.callback((resume) => {
    const reason = lost()
    if (reason !== undefined) return resume(Effect.fail(reason))
    const done = () => {
      forget()
      resume(Effect.void)
    }
    const forget = onLost((reason) => resume(Effect.fail(reason)))
    client.once("handshake", done)
    if (!Protocol.rekey(client)) done()
    return Effect.sync(() => {
      forget()
      client.off("handshake", done)
    })
  })

import * as Effect from "effect/Effect"
import type { ClientChannel } from "ssh2"
import { ChannelRefused, ConnectionLost } from "../../../errors/SshError.ts"
import type { Connection } from "../client.ts"

interface OpenFailure extends Error {
  readonly reason?: number | string | undefined
}

const refusal = (error: OpenFailure) =>
  new ChannelRefused({
    code: typeof error.reason === "number" ? error.reason : 0,
    detail: error.message.replace("(SSH) Channel open failure: ", "")
  })

/** Opens a channel. `use` runs in the moment it opens, before anything can arrive on it. */
export const open = <A>(
  connection: Connection,
  request: (done: (error: Error | undefined, channel: ClientChannel) => void) => void,
  use: (channel: ClientChannel) => A
): Effect.Effect<A, ConnectionLost | ChannelRefused> =>
  Effect.callback((resume) => {
    const lost = connection.lost()
    if (lost !== undefined) return resume(Effect.fail(lost))
    let waiting = true
    const stop = () => {
      waiting = false
      forget()
    }
    const settle = (result: Effect.Effect<A, ConnectionLost | ChannelRefused>) => {
      stop()
      resume(result)
    }
    const forget = connection.onLost((reason) => settle(Effect.fail(reason)))
    const done = (error: OpenFailure | undefined, channel: ClientChannel) => {
      if (waiting) settle(error === undefined ? Effect.succeed(use(channel)) : Effect.fail(refusal(error)))
      else if (error === undefined) channel.close()
    }
    try {
      request(done)
    } catch (cause) {
      // ssh2 throws when its stream can no longer be written
      settle(Effect.fail(new ConnectionLost({ detail: String(cause) })))
    }
    return Effect.sync(stop)
  })

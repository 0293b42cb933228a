import * as Effect from "effect/Effect"
import type { ClientChannel } from "ssh2"
import { type ChannelRefused, ConnectionLost } from "../../../errors/SshError.ts"
import type { Connection } from "../connection.ts"
import { discard, type OpenFailure, refusal, type Request } from "./request.ts"

type Failure = ConnectionLost | ChannelRefused

/** Opens a channel. `use` runs in the moment it opens, before anything can arrive on it. */
export const open = <A>(
  connection: Connection,
  request: Request,
  use: (channel: ClientChannel) => A
): Effect.Effect<A, Failure> =>
  Effect.callback((resume) => {
    const lost = connection.lost()
    if (lost !== undefined) return resume(Effect.fail(lost))
    let waiting = true
    const stop = () => {
      waiting = false
      forget()
    }
    const settle = (result: Effect.Effect<A, Failure>) => {
      stop()
      resume(result)
    }
    const forget = connection.onLost((reason) => settle(Effect.fail(reason)))
    const done = (error: OpenFailure | undefined, channel: ClientChannel) => {
      if (waiting) settle(error === undefined ? Effect.succeed(use(channel)) : Effect.fail(refusal(error)))
      else if (error === undefined) discard(channel)
    }
    try {
      request(done)
    } catch (cause) {
      // ssh2 throws when its stream can no longer be written
      settle(Effect.fail(new ConnectionLost({ detail: String(cause) })))
    }
    return Effect.sync(stop)
  })

/**
 * Opens a session channel: a command, a shell, a subsystem. Waits where the server allows no more of them at a time. `use` runs
 * in the moment it opens, before anything can arrive on it.
 */
export const openSession = <A>(
  connection: Connection,
  request: Request,
  use: (channel: ClientChannel) => A
): Effect.Effect<A, Failure> =>
  Effect.callback((resume) => {
    const lost = connection.lost()
    if (lost !== undefined) return resume(Effect.fail(lost))
    let giveUp = () => {}
    const forget = connection.onLost((reason) => {
      giveUp()
      resume(Effect.fail(reason))
    })
    giveUp = connection.sessions.open(
      connection.withAgent(request),
      (channel) => {
        forget()
        resume(Effect.succeed(use(channel)))
      },
      (reason) => {
        forget()
        resume(Effect.fail(reason))
      }
    )
    return Effect.sync(() => {
      forget()
      giveUp()
    })
  })

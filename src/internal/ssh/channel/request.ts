import type { ClientChannel } from "ssh2"
import { ChannelRefused } from "../../../errors/SshError.ts"

/** Asks for a channel, with a callback as ssh2 has it. */
export type Request = (done: (error: Error | undefined, channel: ClientChannel) => void) => void

export interface OpenFailure extends Error {
  /** There is one where it was the channel that the server did not open, and not what was asked of it afterwards. */
  readonly reason?: number | string | undefined
}

export const refusal = (error: OpenFailure): ChannelRefused =>
  new ChannelRefused({
    code: typeof error.reason === "number" ? error.reason : 0,
    detail: error.message.replace("(SSH) Channel open failure: ", "")
  })

/** Closes a channel that nobody wants. What it still brings has to flow away, or ssh2 does not see it close. */
export const discard = (channel: ClientChannel): void => {
  channel.on("error", () => {}).resume()
  channel.stderr.on("error", () => {}).resume()
  channel.close()
}

import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { ClientChannel } from "ssh2"
import { ChannelRefused, ConnectionLost, type SshErrorReason } from "../../../errors/SshError.ts"
import { scopedUnlessFailed } from "../../net/duplex.ts"
import { stopwatch } from "../../net/realTime.ts"
import { openSession } from "../channel/open.ts"
import type { Connection } from "../connection.ts"
import * as Protocol from "../protocol.ts"
import type { Client, Limits } from "./client.ts"
import { Kind } from "./packet.ts"
import { Requests, scopeClosed } from "./requests.ts"

/** What every server has to be able to do: the draft demands packets of 34000 bytes. */
const smallest: Limits = { packet: 34_000, read: 32_768, write: 32_768, handles: 0 }

/** How much is kept of what the server complains of. */
const maxComplaint = 500

const onChannel = (connection: Connection, channel: ClientChannel, now: () => number): Requests => {
  let complaint = ""
  let status = ""
  const ended = () => {
    const detail = ["the SFTP server ended", status, complaint.trim()].filter((part) => part !== "").join(": ")
    requests.close(connection.lost() ?? new ConnectionLost({ detail }))
  }
  const incoming = Protocol.receive(channel, {
    onData: (bytes, isError) => {
      // what is not wanted is not asked for, so nothing has to be held back here
      incoming.taken(bytes.length)
      if (!isError) requests.receive(bytes)
      else if (complaint.length < maxComplaint) complaint += Buffer.from(bytes).toString("utf8", 0, maxComplaint)
    },
    onEnd: (isError) => {
      if (!isError) ended()
    }
  })
  const requests = new Requests({
    send: (bytes, taken) => {
      let waiting = false
      channel.write(bytes, () => {
        if (waiting) taken()
      })
      // ssh2 copies what it can send at once, and keeps the rest until the server gives it room
      waiting = channel.writableLength > 0
      return !waiting
    },
    grant: (bytes) => void incoming.grant(bytes),
    now,
    close: () => {
      forget()
      incoming.stop()
      channel.close()
    }
  })
  const forget = connection.onLost((reason) => requests.end(reason))
  channel
    .on("exit", (code: number | null, signal?: string) => {
      status = code === null ? `signal ${signal}` : `exit code ${code}`
    })
    .on("close", ended)
  return requests
}

/** Agrees with a server on how to go on: what it can do, and how much of it at a time. */
export const greet = Effect.fnUntraced(function*(requests: Requests) {
  const { extensions, version } = yield* requests.greet
  if (version !== 3) return yield* requests.violated(`the server speaks version ${version} of SFTP, not 3`)
  if (!extensions.has("limits@openssh.com")) return { requests, extensions, limits: smallest } satisfies Client
  const about = { operation: "limits", path: "" }
  const size = (value: bigint, otherwise: number) =>
    value === 0n ? otherwise : Number(value > 0x7fffffffn ? 0x7fffffffn : value)
  // no more than OpenSSH's servers take and our own reader of packets, and not so little that there is no end of requests
  const bounded = (value: bigint, otherwise: number) => Math.max(1024, Math.min(261_120, size(value, otherwise)))
  const limits = yield* requests.ask(
    about,
    Kind.Extended,
    ["limits@openssh.com"],
    Kind.ExtendedReply,
    (cursor): Limits => ({
      packet: size(cursor.bigint(), smallest.packet),
      read: bounded(cursor.bigint(), smallest.read),
      write: bounded(cursor.bigint(), smallest.write),
      handles: size(cursor.bigint(), 0)
    })
  )
  return { requests, extensions, limits } satisfies Client
})

/** Opens a channel of its own for SFTP, for as long as the scope lives. */
export const open = (connection: Connection): Effect.Effect<Client, SshErrorReason, Scope.Scope> =>
  scopedUnlessFailed(Effect.flatMap(
    Effect.acquireRelease(
      Effect.clockWith((clock) =>
        openSession(
          connection,
          (done) => connection.client.subsys("sftp", done),
          (channel) => onChannel(connection, channel, stopwatch(clock))
        )
      ),
      (requests) => Effect.sync(() => requests.close(scopeClosed)),
      { interruptible: true }
    ),
    (requests) =>
      Effect.mapError(greet(requests), (reason) =>
        // the request was granted, but there is nobody to carry it out
        reason._tag === "ConnectionLost" && connection.lost() === undefined
          ? new ChannelRefused({ code: 0, detail: reason.detail })
          : reason)
  ))

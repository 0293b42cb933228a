import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { formatHost, isHostPort } from "effect/net/Host"
import type { ClientChannel } from "ssh2"
import {
  ConnectTimeout,
  DialError,
  type DialErrorReason,
  NameNotFound,
  Refused,
  TunnelRefused,
  Unreachable
} from "../../../errors/DialError.ts"
import { type ChannelRefused, ConnectionLost } from "../../../errors/SshError.ts"
import { close } from "../../net/duplex.ts"
import * as Hop from "../../net/hop.ts"
import { guardErrors } from "../../net/owner.ts"
import * as Target from "../../net/target.ts"
import { ChannelDuplex } from "../channel/duplex.ts"
import { open } from "../channel/open.ts"
import type { Connection } from "../connection.ts"

/** OpenSSH passes the system's words on; other servers say less. */
export const reasonOf = (error: ChannelRefused | ConnectionLost, target: Target.Target): DialErrorReason => {
  if (error._tag === "ConnectionLost") return new TunnelRefused({ detail: error.message, cause: error })
  const address = Target.format(target)
  switch (error.detail) {
    case "Connection refused":
      return new Refused({ address, cause: error })
    case "Name or service not known":
    case "No address associated with hostname":
      return new NameNotFound({ name: Target.hostOf(target), code: "ENOTFOUND", cause: error })
    case "Temporary failure in name resolution":
      return new NameNotFound({ name: Target.hostOf(target), code: "EAI_AGAIN", cause: error })
    case "No route to host":
      return new Unreachable({ address, code: "EHOSTUNREACH", cause: error })
    case "Network is unreachable":
      return new Unreachable({ address, code: "ENETUNREACH", cause: error })
    case "Connection timed out":
      return new Unreachable({ address, code: "ETIMEDOUT", cause: error })
    default:
      return new TunnelRefused({ detail: error.message, cause: error })
  }
}

const request = (connection: Connection, target: Target.Target) =>
(
  done: (error: Error | undefined, channel: ClientChannel) => void
): void => {
  if (isHostPort(target)) {
    // RFC 4254, section 7.2 wants to know who asks; it is us, and there is no port of ours
    connection.client.forwardOut("127.0.0.1", 0, formatHost(target.host), target.port, done)
  } else {
    connection.client.openssh_forwardOutStreamLocal(target.path, done)
  }
}

/** The connection, as what goes through it sees its end: one of several on the way, which therefore has a name. */
const named = (connection: Connection, name: string): Connection => ({
  ...connection,
  onLost: (notify) =>
    connection.onLost((reason) => notify(new ConnectionLost({ detail: `${name}: ${reason.detail}`, cause: reason })))
})

/** Dials from the other end of an SSH connection. */
export const path = (connection: Connection, name: string, connectTimeout: Duration.Duration): Hop.Path => {
  const link = named(connection, name)
  return {
    connectTimeout,
    dial: Effect.fn(`Dialer.dial ${name}`)(function*(input, options) {
      const target = yield* Hop.parseTarget(input, name)
      const fail = (reason: DialErrorReason) => new DialError({ target: Target.format(target), hop: name, reason })
      const after = Duration.fromInputUnsafe(options?.connectTimeout ?? connectTimeout)
      const dial = Effect.acquireRelease(
        open(
          connection,
          request(connection, target),
          (channel) => guardErrors(new ChannelDuplex(link, channel))
        ).pipe(
          Effect.mapError((error) => fail(reasonOf(error, target))),
          Effect.timeoutOrElse({
            duration: after,
            orElse: () => Effect.fail(fail(new ConnectTimeout({ after, phase: `the answer of ${name}` })))
          })
        ),
        close,
        { interruptible: true }
      )
      return yield* Hop.reported(dial, target, name)
    })
  }
}

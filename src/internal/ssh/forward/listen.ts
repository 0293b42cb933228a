import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { isHostPort } from "effect/net/Host"
import * as NetAddress from "effect/net/NetAddress"
import type * as Scope from "effect/Scope"
import { ConnectionLost, ForwardRefused } from "../../../errors/SshError.ts"
import { AddressInUse, PermissionDenied, type TcpErrorReason, Unknown } from "../../../errors/TcpError.ts"
import type { Bound } from "../../net/listen.ts"
import { alarmAnyway } from "../../net/realTime.ts"
import * as Target from "../../net/target.ts"
import { Waiting } from "../../net/waiting.ts"
import type { Connection } from "../connection.ts"
import { Arrivals, keyOf } from "./arrivals.ts"
import { Words } from "./words.ts"

/** How the server answers a request to listen, with the port where it chose one. */
type Answered = (error: Error | undefined, port?: number) => void

/** What can be asked of a server for one address. */
interface Place {
  readonly key: (port: number) => string
  readonly listen: (answered: Answered) => void
  readonly cancel: (port: number, answered: () => void) => void
  readonly address: (port: number) => NetAddress.SocketAddress
}

/** Servers say which port they listen at, and not where; a name is `localhost`, or something that only they can resolve. */
const addressOf = (host: string, port: number): NetAddress.SocketAddress => {
  const literal = NetAddress.inetAddressFromNativeUnsafe
  if (host.includes(":") || /^[\d.]+$/.test(host)) return literal(host, port)
  return literal(host === "localhost" ? "127.0.0.1" : "0.0.0.0", port)
}

const placeOf = ({ client }: Connection, target: Target.Target): Place => {
  if (isHostPort(target)) {
    const host = Target.hostOf(target)
    return {
      key: (port) => keyOf(host, port),
      listen: (answered) => client.forwardIn(host, target.port, answered),
      cancel: (port, answered) => client.unforwardIn(host, port, answered),
      address: (port) => addressOf(host, port)
    }
  }
  const { path } = target
  return {
    key: () => path,
    listen: (answered) => client.openssh_forwardInStreamLocal(path, (error) => answered(error ?? undefined)),
    cancel: (_port, answered) => client.openssh_unforwardInStreamLocal(path, answered),
    address: () => NetAddress.unixPathAddress(path)
  }
}

/** What there is to say of a server that refuses without a word; most often it could not bind the address. */
const silence = "it does not say why; the address may be in use"

/** Two listeners of one address could not be told apart. */
const ours = "this session listens there already"

/** How long the server may take to confirm that it has stopped listening. */
const patience = Duration.seconds(2)

/** Why the server does not listen. */
export type Refusal = ForwardRefused | ConnectionLost

/** Listens on the server's side of a connection. */
export class RemoteListener {
  private readonly arrivals: Arrivals
  private readonly words: Words
  private readonly connection: Connection

  constructor(connection: Connection) {
    this.connection = connection
    this.arrivals = new Arrivals(connection)
    this.words = new Words(connection.client)
  }

  /** Listens there for as long as the scope lives. */
  bind(target: Target.Target, pending: number): Effect.Effect<Bound, Refusal, Scope.Scope> {
    const place = placeOf(this.connection, target)
    const waiting = new Waiting(pending)
    return Effect.acquireRelease(
      this.listen(place, Target.format(target), isHostPort(target) ? target.port : 0, waiting),
      (port) => this.cancel(place, port),
      { interruptible: true }
    ).pipe(
      Effect.map((port) => ({ address: place.address(port), accept: waiting.accept, receive: waiting.receive }))
    )
  }

  private listen(place: Place, address: string, wanted: number, waiting: Waiting): Effect.Effect<number, Refusal> {
    return Effect.callback((resume) => {
      const refused = (detail: string) => Effect.fail(new ForwardRefused({ address, detail }))
      const lost = this.connection.lost()
      if (lost !== undefined) return resume(Effect.fail(lost))
      if (this.arrivals.has(place.key(wanted))) return resume(refused(ours))
      let wait = true
      const stop = () => {
        wait = false
        forget()
      }
      const settle = (result: Effect.Effect<number, Refusal>) => {
        stop()
        resume(result)
      }
      const forget = this.connection.onLost((reason) => settle(Effect.fail(reason)))
      const answered: Answered = (error, port = wanted) => {
        const words = this.words.take()
        if (!wait) {
          // nobody wants it any more
          if (error === undefined) this.request(() => place.cancel(port, () => {}))
        } else if (error === undefined) {
          // at once: the first connection may follow in the same packet
          this.arrivals.add(place.key(port), waiting)
          settle(Effect.succeed(port))
        } else {
          settle(refused(words ?? silence))
        }
      }
      this.words.take()
      const failure = this.request(() => place.listen(answered))
      if (failure !== undefined) settle(Effect.fail(failure))
      return Effect.sync(stop)
    })
  }

  /** ssh2 throws when its stream can no longer be written. */
  private request(request: () => void): ConnectionLost | undefined {
    try {
      request()
      return undefined
    } catch (cause) {
      return new ConnectionLost({ detail: String(cause) })
    }
  }

  private cancel(place: Place, port: number): Effect.Effect<void> {
    return Effect.clockWith((clock) =>
      Effect.callback((resume) => {
        this.arrivals.remove(place.key(port))
        if (this.connection.lost() !== undefined) return resume(Effect.void)
        const settle = () => {
          stop()
          resume(Effect.void)
        }
        const stopAlarm = alarmAnyway(clock, patience, () => settle())
        const forget = this.connection.onLost(() => settle())
        const stop = () => {
          stopAlarm()
          forget()
        }
        if (this.request(() => place.cancel(port, settle)) !== undefined) settle()
        return Effect.sync(stop)
      })
    )
  }
}

/**
 * The same as a Listener's error. Servers that forbid forwarding may say so; that they say nothing means, with OpenSSH, that
 * the address is taken.
 */
export const tcpReasonOf = (cause: Refusal, target: Target.Target): TcpErrorReason => {
  if (cause._tag === "ConnectionLost") return new Unknown({ detail: cause.message, cause })
  const { address, detail } = cause
  if (detail !== silence && detail !== ours) return new PermissionDenied({ address, cause })
  return isHostPort(target) && target.port === 0
    ? new Unknown({ detail: cause.message, cause })
    : new AddressInUse({ address, cause })
}

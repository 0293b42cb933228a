import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { formatHost, isInetAddress } from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { Duplex } from "node:stream"
import { ConnectTimeout, DialError, type DialErrorReason } from "../errors/DialError.ts"
import { Closed, PlaintextBuffered, TcpError } from "../errors/TcpError.ts"
import type { ConnectionCore } from "./connection.ts"
import { within } from "./net/deadline.ts"
import { addressOf, close, scopedUnlessFailed } from "./net/duplex.ts"
import { type DialTarget, hostOf, parse as parseTarget } from "./net/target.ts"
import type { Role } from "./observe.ts"
import * as TlsHandshake from "./tls/handshake.ts"
import { resolve, resolveServer, type TlsOptions } from "./tls/options.ts"

/** What is known of the connection. */
interface Known {
  readonly role?: Role | undefined
  readonly target?: DialTarget | undefined
}

interface Options {
  /** What is said last in the clear. */
  readonly reply?: string | Uint8Array | undefined
  /** How long the handshake may take. Default 10 seconds. */
  readonly timeout?: Duration.Input | undefined
}

/** Writes what is said last in the clear and waits until that, and what was written before, has left. */
const flush = (duplex: Duplex, reply: string | Uint8Array = "") =>
  Effect.callback<void>((resume) => {
    if (reply.length === 0 && duplex.writableLength === 0) return resume(Effect.void)
    // a stream that breaks here fails the handshake
    duplex.write(reply, () => resume(Effect.void))
  })

/** The name of the peer that a certificate has to be for. */
const peerName = (target: DialTarget | undefined, duplex: Duplex) => {
  const dialed = target === undefined ? undefined : Option.getOrUndefined(Result.getSuccess(parseTarget(target)))
  if (dialed !== undefined) return hostOf(dialed)
  return Option.match(addressOf(duplex, "remote"), {
    onNone: () => "localhost",
    onSome: (address) => isInetAddress(address) ? formatHost(address) : "localhost"
  })
}

const refuse = (received: number) => new TcpError({ reason: new PlaintextBuffered({ received }) })

const secure = Effect.fnUntraced(function*(
  duplex: Duplex,
  { role, target }: Known,
  tls: TlsOptions,
  { reply, timeout }: Options
) {
  const name = peerName(target, duplex)
  const resolved = yield* role === "accepted" ? resolveServer(tls) : resolve(tls)
  // with a reply, this side has not yet said that the client may begin
  if (reply !== undefined && duplex.readableLength > 0) return yield* refuse(duplex.readableLength)
  const fail = (reason: DialErrorReason) => new DialError({ target: tls.servername ?? name, hop: "tls", reason })
  const after = Duration.fromInputUnsafe(timeout ?? "10 seconds")
  const handshake = role === "accepted"
    ? TlsHandshake.server(duplex, resolved)
    : TlsHandshake.client(duplex, resolved, name)
  return yield* scopedUnlessFailed(
    within(
      Effect.mapError(Effect.andThen(flush(duplex, reply), handshake), fail),
      after,
      () => Effect.fail(fail(new ConnectTimeout({ after, phase: "the TLS handshake" })))
    )
  )
})

/**
 * Goes on in TLS on the stream of a connection, which is given up for it: as the client of one that was dialled, as the server
 * of one that was accepted. What had arrived in the clear and was not read would be taken for what came encrypted, and is
 * refused.
 */
export const startTls = (core: ConnectionCore, known: Known, tls: TlsOptions, options: Options) =>
  Effect.suspend(() => {
    const unread = core.detach()
    if (unread === undefined) return Effect.fail(new TcpError({ reason: new Closed() }))
    return Effect.onError(
      unread > 0 ? Effect.fail(refuse(unread)) : secure(core.duplex, known, tls, options),
      (cause) => close(core.duplex, Exit.failCause(cause))
    )
  })

import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { Duplex } from "node:stream"
import { TcpError, Unknown } from "../../errors/TcpError.ts"
import { addressOf } from "../net/duplex.ts"
import { answer } from "../net/handshake.ts"
import { type Decoded, incomplete, malformed, type ProxyHeader } from "./proxyHeader.ts"
import * as V1 from "./proxyHeaderV1.ts"
import * as V2 from "./proxyHeaderV2.ts"
import { trustedSources } from "./trustedSources.ts"

export type { ProxyHeader } from "./proxyHeader.ts"

/** Whose PROXY headers a server believes. */
export interface ProxyProtocolOptions {
  /**
   * The proxies: addresses (`"10.0.0.1"`, `"::1"`), networks (`"10.0.0.0/8"`), or `"unix"` for whoever connects to a unix
   * socket; at least one. Each of their connections has to begin with a header and is closed otherwise: to guess whether
   * there is one would let clients write their own. IPv4 addresses match also where they are written as IPv6 ones.
   */
  readonly trusted: ReadonlyArray<string>
  /**
   * What happens to connections from anybody else. Default false: they are served, without a header being looked for.
   * True: they are closed.
   */
  readonly required?: boolean | undefined
  /** How long the header may take. Default 5 seconds. */
  readonly timeout?: Duration.Input | undefined
}

/** A connection did not begin with the PROXY header that it must have; `detail` says what came instead. */
export class ProxyHeaderError extends Data.TaggedError("ProxyHeaderError")<{
  readonly detail: string
  readonly cause?: Error
}> {
  override get message(): string {
    return `no usable PROXY header: ${this.detail}`
  }
}

const prefixes = [[Buffer.from(V1.prefix), V1.decode], [V2.signature, V2.decode]] as const

/** Reads a header from the first bytes of a connection, as many as there are so far. */
export const decode = (bytes: Buffer): Decoded => {
  for (const [prefix, decodeVersion] of prefixes) {
    const size = Math.min(bytes.length, prefix.length)
    if (bytes.subarray(0, size).equals(prefix.subarray(0, size))) {
      return size < prefix.length ? incomplete : decodeVersion(bytes)
    }
  }
  return malformed("the first bytes begin none")
}

/** Reads the header at the beginning of a connection; what follows stays in the stream. Has no time limit. */
export const read = (duplex: Duplex): Effect.Effect<ProxyHeader, ProxyHeaderError> =>
  Effect.suspend(() => {
    let received: Buffer = Buffer.alloc(0)
    return answer(duplex, {
      limit: V2.maxSize,
      broken: (how) => new ProxyHeaderError(how),
      parse: (bytes) => {
        const before = received.length
        received = before === 0 ? bytes : Buffer.concat([received, bytes])
        const decoded = decode(received)
        if (decoded._tag === "incomplete") return undefined
        return decoded._tag === "complete"
          ? { used: decoded.size - before, result: Effect.succeed(decoded.header) }
          : { used: bytes.length, result: Effect.fail(new ProxyHeaderError({ detail: decoded.detail })) }
      }
    })
  })

/** What a server does first with each connection: gives the header, where the connection has to have one. */
export type Receiver = (duplex: Duplex) => Effect.Effect<Option.Option<ProxyHeader>, ProxyHeaderError>

/** Understands whom to trust, once for all connections. Fails with `TcpError`, reason `Unknown`. */
export const receiver = (options: ProxyProtocolOptions): Effect.Effect<Receiver, TcpError> => {
  const isTrusted = trustedSources(options.trusted)
  if (Result.isFailure(isTrusted)) {
    const detail = `the trusted sources of the PROXY protocol are not usable: ${isTrusted.failure}`
    return Effect.fail(new TcpError({ reason: new Unknown({ detail }) }))
  }
  const timeout = Duration.fromInputUnsafe(options.timeout ?? "5 seconds")
  const untrusted = options.required === true
    ? Effect.fail(new ProxyHeaderError({ detail: "the connection is from nobody who is trusted" }))
    : Effect.succeedNone
  const late = () => new ProxyHeaderError({ detail: `it was not there after ${Duration.format(timeout)}` })
  return Effect.succeed((duplex) =>
    isTrusted.success(Option.getOrUndefined(addressOf(duplex, "remote")))
      ? Effect.asSome(Effect.timeoutOrElse(read(duplex), { duration: timeout, orElse: () => Effect.fail(late()) }))
      : untrusted
  )
}

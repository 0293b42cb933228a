import * as Effect from "effect/Effect"
import * as NetAddress from "effect/net/NetAddress"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Crypto from "node:crypto"
import type { Duplex } from "node:stream"
import type { DialErrorReason } from "../../errors/DialError.ts"
import { ChannelRefused } from "../../errors/SshError.ts"
import { EndOfStream, Malformed, type TcpErrorReason, Unknown } from "../../errors/TcpError.ts"
import { answer } from "../net/handshake.ts"
import * as Target from "../net/target.ts"
import type { Request } from "./request.ts"
import type { Credentials } from "./settings.ts"

const connect = 1

/** RFC 1928, section 6. */
const Reply = {
  succeeded: 0,
  failure: 1,
  notAllowed: 2,
  networkUnreachable: 3,
  hostUnreachable: 4,
  refused: 5,
  timedOut: 6,
  commandNotSupported: 7,
  addressTypeNotSupported: 8
} as const

/** Without the address that was bound: it is not this machine's, and nobody asks for it. */
const socks5Reply = (code: number) => Buffer.of(5, code, 0, 1, 0, 0, 0, 0, 0, 0)

/** The two of its codes that say something of the target. */
const Socks4Reply = { granted: 90, refused: 91 } as const

const socks4Reply = (code: number) => Buffer.of(0, code, 0, 0, 0, 0, 0, 0)

/** RFC 4254, section 5.1: administratively prohibited. */
const isProhibited = (cause: unknown) => cause instanceof ChannelRefused && cause.code === 1

/** How SOCKS5 says why a target was not reached. */
const replyOf = (reason: DialErrorReason): number => {
  switch (reason._tag) {
    case "Refused":
      return Reply.refused
    case "NameNotFound":
      return Reply.hostUnreachable
    case "Unreachable":
      return reason.code === "ENETUNREACH" ? Reply.networkUnreachable : Reply.hostUnreachable
    case "ConnectTimeout":
      return Reply.timedOut
    case "InvalidTarget":
      return Reply.addressTypeNotSupported
    case "TunnelRefused":
      return isProhibited(reason.cause) ? Reply.notAllowed : Reply.failure
    default:
      return Reply.failure
  }
}

const malformed = (detail: string) => new Malformed({ framing: "SOCKS", detail })

const hex = (byte: number) => `0x${byte.toString(16).padStart(2, "0")}`

const broken = (how: { readonly detail: string; readonly cause?: Error }) =>
  how.cause === undefined
    ? new EndOfStream({ received: 0 })
    : new Unknown({ detail: `no SOCKS request: ${how.detail}`, cause: how.cause })

/** Reads exactly so many bytes, however they come, and leaves what follows. */
const take = (duplex: Duplex, size: number): Effect.Effect<Buffer, TcpErrorReason> => {
  if (size === 0) return Effect.succeed(Buffer.alloc(0))
  const taken = Buffer.allocUnsafe(size)
  let have = 0
  return answer<Buffer, TcpErrorReason>(duplex, {
    limit: size,
    broken,
    parse: (bytes) => {
      have += bytes.copy(taken, have)
      return have === size ? { used: bytes.length, result: Effect.succeed(taken) } : undefined
    }
  })
}

/** The longest name of SOCKS5, which SOCKS4 gets too. */
const maxText = 255

/** Reads text up to a NUL, which is not part of it. */
const takeUntilNul = (duplex: Duplex): Effect.Effect<string, TcpErrorReason> => {
  const taken: Array<number> = []
  return answer<string, TcpErrorReason>(duplex, {
    limit: maxText + 1,
    broken: ({ cause, detail }) => cause === undefined && taken.length > 0 ? malformed(detail) : broken({ detail }),
    parse: (bytes) => {
      const end = bytes.indexOf(0)
      for (const byte of end === -1 ? bytes : bytes.subarray(0, end)) taken.push(byte)
      return end === -1 ? undefined : { used: end + 1, result: Effect.succeed(String(Buffer.from(taken))) }
    }
  })
}

const takeByte = (duplex: Duplex) => Effect.map(take(duplex, 1), (bytes) => bytes.readUInt8())

/** Reads text behind its length. */
const takeText = (duplex: Duplex) => Effect.flatMap(takeByte(duplex), (size) => take(duplex, size))

const digest = (bytes: Uint8Array) => Crypto.createHash("sha256").update(bytes).digest()

/** In a time that does not depend on how much of it is right. */
const isSame = (given: Uint8Array, wanted: string) => Crypto.timingSafeEqual(digest(given), digest(Buffer.from(wanted)))

/** Says a last word. Who closes the stream sends it out first. */
const refuse = (duplex: Duplex, word: Uint8Array, detail: string) =>
  Effect.suspend(() => {
    duplex.write(word)
    return Effect.fail(malformed(detail))
  })

const ipv6 = (bytes: Buffer) => NetAddress.formatIp(NetAddress.ipv6FromBytesUnsafe(bytes))

const targetOf = (duplex: Duplex, host: string, port: number, refusal: Uint8Array) =>
  Result.match(Target.parse({ host, port }), {
    onSuccess: Effect.succeed,
    onFailure: (reason) => refuse(duplex, refusal, reason.message)
  })

/** A request that is answered with codes of its protocol. */
const answering = (
  duplex: Duplex,
  target: Target.Target,
  reply: (code: number) => Uint8Array,
  codes: { readonly granted: number; readonly refused: (reason: DialErrorReason) => number }
): Request => {
  const answer = (code: number) => {
    duplex.write(reply(code))
    return code
  }
  return {
    target,
    grant: () => answer(codes.granted),
    refuse: (why) => answer(typeof why === "number" ? why : codes.refused(why))
  }
}

const authenticate = Effect.fnUntraced(function*(
  duplex: Duplex,
  credentials: Credentials
): Effect.fn.Return<void, TcpErrorReason> {
  // RFC 1929
  yield* take(duplex, 1)
  const username = yield* takeText(duplex)
  const password = yield* takeText(duplex)
  const wanted = credentials.password === undefined ? "" : Redacted.value(credentials.password)
  // both are looked at, whichever is wrong
  const right = [isSame(username, credentials.username), isSame(password, wanted)].every((same) => same)
  if (!right) return yield* refuse(duplex, Buffer.of(1, 1), "the username or the password is wrong")
  return void duplex.write(Buffer.of(1, 0))
})

const socks5 = Effect.fnUntraced(function*(
  duplex: Duplex,
  credentials: Credentials | undefined
): Effect.fn.Return<Request, TcpErrorReason> {
  const method = credentials === undefined ? 0 : 2
  const offered = yield* takeText(duplex)
  if (!offered.includes(method)) {
    return yield* refuse(
      duplex,
      Buffer.of(5, 0xff),
      credentials === undefined ? "it insists on a login" : "it offers no username and password"
    )
  }
  duplex.write(Buffer.of(5, method))
  if (credentials !== undefined) yield* authenticate(duplex, credentials)
  const [version = 0, command = 0, , type = 0] = yield* take(duplex, 4)
  if (version !== 5) return yield* refuse(duplex, socks5Reply(Reply.failure), `${hex(version)} begins no request`)
  if (type !== 1 && type !== 3 && type !== 4) {
    return yield* refuse(
      duplex,
      socks5Reply(Reply.addressTypeNotSupported),
      `${hex(type)} is no type of address`
    )
  }
  const host = type === 3
    ? String(yield* takeText(duplex))
    : type === 1
    ? (yield* take(duplex, 4)).join(".")
    : ipv6(yield* take(duplex, 16))
  const port = (yield* take(duplex, 2)).readUInt16BE()
  if (command !== connect) {
    return yield* refuse(duplex, socks5Reply(Reply.commandNotSupported), `command ${hex(command)} is not CONNECT`)
  }
  return answering(
    duplex,
    yield* targetOf(duplex, host, port, socks5Reply(Reply.addressTypeNotSupported)),
    socks5Reply,
    { granted: Reply.succeeded, refused: replyOf }
  )
})

const socks4 = Effect.fnUntraced(function*(
  duplex: Duplex,
  credentials: Credentials | undefined,
  spoken: boolean
): Effect.fn.Return<Request, TcpErrorReason> {
  const head = yield* take(duplex, 7)
  yield* takeUntilNul(duplex)
  // SOCKS4a: an address 0.0.0.x announces a name
  const named = head.readUInt32BE(3) < 256
  const host = named ? yield* takeUntilNul(duplex) : head.subarray(3).join(".")
  const refusal = socks4Reply(Socks4Reply.refused)
  // only now: what is closed with bytes unread is reset, and the answer is lost
  if (!spoken) return yield* refuse(duplex, refusal, "SOCKS4 is not spoken here")
  if (credentials !== undefined) return yield* refuse(duplex, refusal, "SOCKS4 has no passwords")
  if (head[0] !== connect) return yield* refuse(duplex, refusal, `command ${hex(head[0] ?? 0)} is not CONNECT`)
  return answering(
    duplex,
    yield* targetOf(duplex, host, head.readUInt16BE(1), refusal),
    socks4Reply,
    { granted: Socks4Reply.granted, refused: () => Socks4Reply.refused }
  )
})

/**
 * Reads what a client of a SOCKS server asks for: SOCKS5 (RFC 1928), with a username and password where there are
 * credentials (RFC 1929), SOCKS4 and SOCKS4a unless they are not spoken; CONNECT only. Who asks for something else is told so.
 * Has no time limit and does not close the stream: its caller does both.
 */
export const request = (
  duplex: Duplex,
  credentials?: Credentials,
  options: { readonly socks4?: boolean | undefined } = {}
): Effect.Effect<Request, TcpErrorReason> =>
  Effect.flatMap(takeByte(duplex), (version) => {
    switch (version) {
      case 5:
        return socks5(duplex, credentials)
      case 4:
        return socks4(duplex, credentials, options.socks4 !== false)
      default:
        return Effect.fail(malformed(`${hex(version)} begins no request of a SOCKS client`))
    }
  })

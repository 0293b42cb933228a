import * as Effect from "effect/Effect"
import * as Host from "effect/net/Host"
import * as Redacted from "effect/Redacted"
import { Duplex } from "node:stream"
import { SocksClient } from "socks"
import { type DialErrorReason, ProxyAuthentication, ProxyProtocol, ProxyRefused } from "../../errors/DialError.ts"
import { answer } from "../net/handshake.ts"
import { guardErrors } from "../net/owner.ts"
import type { Credentials, Proxy } from "./settings.ts"

/** RFC 1928, section 6, and the SOCKS4 protocol, in their words. */
const meanings: Record<number, string | undefined> = {
  1: "general SOCKS server failure",
  2: "connection not allowed by ruleset",
  3: "Network unreachable",
  4: "Host unreachable",
  5: "Connection refused",
  6: "TTL expired",
  7: "Command not supported",
  8: "Address type not supported",
  91: "request rejected or failed",
  92: "request rejected because SOCKS server cannot connect to identd on the client",
  93: "request rejected because the client program and identd report different user-ids"
}

const refused = (code: number) => new ProxyRefused({ code, meaning: meanings[code] ?? "unassigned reply code" })

const nonsense = (detail: string) => new ProxyProtocol({ detail })

const hex = (byte: number) => `0x${byte.toString(16).padStart(2, "0")}`

const notSocks = (version: 4 | 5, byte: number) => nonsense(`${hex(byte)} begins no answer of a SOCKS${version} proxy`)

/** What the last of the bytes received so far says against going on. */
type Check = (received: ReadonlyArray<number>) => DialErrorReason | undefined

const checkSocks4: Check = (received) => {
  const byte = received[received.length - 1]!
  if (received.length === 1) return byte === 0 ? undefined : notSocks(4, byte)
  return received.length === 2 && byte !== 90 ? refused(byte) : undefined
}

const checkMethod = (method: number, credentials: Credentials | undefined): DialErrorReason | undefined => {
  if (method === 0 || (method === 2 && credentials !== undefined)) return undefined
  if (method === 2 || method === 0xff) {
    return new ProxyAuthentication({
      detail: credentials === undefined
        ? "it wants credentials and there are none"
        : "it accepts neither a username and password nor their absence"
    })
  }
  return nonsense(`it chose authentication method ${hex(method)}, which was not offered`)
}

const checkSocks5 = (credentials: Credentials | undefined): Check => (received) => {
  const byte = received[received.length - 1]!
  if (received.length === 1) return byte === 5 ? undefined : notSocks(5, byte)
  if (received.length === 2) return checkMethod(byte, credentials)
  // which byte of the last reply; the two of the reply to a username and password come before it
  switch (received.length - (received[1] === 2 ? 4 : 2)) {
    case -1:
      return byte === 1 ? undefined : nonsense(`${hex(byte)} begins no answer to a username and password (RFC 1929)`)
    case 0:
      return byte === 0
        ? undefined
        : new ProxyAuthentication({ detail: "it does not accept the username and password" })
    case 1:
      return byte === 5 ? undefined : notSocks(5, byte)
    case 2:
      return byte === 0 ? undefined : refused(byte)
    case 4:
      return byte === 1 || byte === 3 || byte === 4 ? undefined : nonsense(`${hex(byte)} is no type of address`)
  }
  return undefined
}

const endsAuthentication = (received: ReadonlyArray<number>) =>
  received.length === 4 && received[0] === 5 && received[1] === 2

/**
 * The stream that the client of `socks` gets instead of the real one, which it would set flowing: bytes that follow the
 * proxy's reply would be lost for everybody but a `data` listener. It passes requests on and is told the replies.
 */
const shim = (duplex: Duplex) =>
  guardErrors(
    new Duplex({
      read() {},
      write(chunk, _encoding, done) {
        duplex.write(chunk)
        done()
      }
    })
  )

/**
 * The client's private timer cannot be stopped and would keep the password in memory; the path has a time limit of its
 * own, so that one fires at once and does nothing. Where this method is gone the timer is set as late as it can be.
 */
const onTimeout = "onEstablishedTimeout"

/** Starts a client, which sends its first request at once. Gives a way to ask whether the replies it was fed are all. */
const start = (duplex: Duplex, stream: Duplex, proxy: Proxy, target: Host.HostPort) => {
  const client = new SocksClient({
    command: "connect",
    destination: { host: Host.formatHost(target.host), port: target.port },
    proxy: {
      host: Host.formatHost(proxy.address.host),
      port: proxy.address.port,
      type: proxy.kind === "socks5" ? 5 : 4,
      ...(proxy.credentials === undefined ? {} : { userId: proxy.credentials.username }),
      ...(proxy.credentials?.password === undefined ? {} : { password: Redacted.value(proxy.credentials.password) })
    },
    timeout: onTimeout in SocksClient.prototype ? 1 : 2 ** 31 - 1
  })
  Object.defineProperty(client, onTimeout, { value: () => {} })
  let established = false
  client.once("established", () => established = true)
  // its errors hold the password and are dropped; that the stream is closed is what fails the handshake
  client.once("error", () => duplex.destroy())
  client.connect(stream)
  return () => established
}

/** Asks a SOCKS proxy, on a connection to it, for the target. */
export const connect = (
  duplex: Duplex,
  proxy: Proxy,
  target: Host.HostPort
): Effect.Effect<Duplex, DialErrorReason> =>
  Effect.suspend(() => {
    const stream = shim(duplex)
    const isEstablished = start(duplex, stream, proxy, target)
    const check = proxy.kind === "socks5" ? checkSocks5(proxy.credentials) : checkSocks4
    const received: Array<number> = []
    const answered: Effect.Effect<Duplex, DialErrorReason> = answer(duplex, {
      limit: 512,
      broken: (how) => new ProxyProtocol(how),
      // one byte at a time, so that the client never holds a byte behind the reply
      parse: (bytes) => {
        for (let used = 1; used <= bytes.length; used++) {
          received.push(bytes[used - 1]!)
          const refusal = check(received)
          if (refusal !== undefined) return { used, result: Effect.fail(refusal) }
          stream.emit("data", bytes.subarray(used - 1, used))
          if (isEstablished()) return { used, result: Effect.succeed(duplex) }
          // the client looks at this reply in a microtask, and must not see the next one before
          if (endsAuthentication(received)) return { used, result: Effect.andThen(Effect.yieldNow, answered) }
        }
        return undefined
      }
    })
    return Effect.ensuring(answered, Effect.sync(() => stream.destroy()))
  })

import * as Effect from "effect/Effect"
import * as Host from "effect/net/Host"
import * as Redacted from "effect/Redacted"
import * as Http from "node:http"
import type { Duplex } from "node:stream"
import { type DialErrorReason, ProxyAuthentication, ProxyProtocol, ProxyRefused } from "../../errors/DialError.ts"
import { answer, type Answered } from "../net/handshake.ts"
import type { Credentials, Proxy } from "./settings.ts"

/** RFC 7617, with its `charset="UTF-8"`. */
export const basic = ({ password, username }: Credentials) =>
  `Basic ${
    Buffer.from(`${username}:${password === undefined ? "" : Redacted.value(password)}`, "utf8").toString("base64")
  }`

const protocol = "HTTP/1."

const request = (authority: string, credentials: Credentials | undefined) =>
  [
    `CONNECT ${authority} HTTP/1.1`,
    `Host: ${authority}`,
    ...(credentials === undefined ? [] : [`Proxy-Authorization: ${basic(credentials)}`]),
    "\r\n"
  ].join("\r\n")

/** What a stranger wrote, fit for one line of a message. */
const printable = (text: string) => text.replace(/[^\x20-\x7e]/g, "?").slice(0, 200)

const nonsense = (line: string) =>
  Effect.fail(new ProxyProtocol({ detail: `"${printable(line)}" begins no HTTP answer` }))

const statusLine = /^HTTP\/1\.\d +(\d{3})(?: (.*))?$/s

interface Head {
  readonly status: number
  readonly reason: string
  /** The authentication schemes that the proxy offers. */
  readonly schemes: Array<string>
}

const verdict = ({ reason, schemes, status }: Head, authenticated: boolean): Effect.Effect<void, DialErrorReason> => {
  if (status >= 200 && status < 300) return Effect.void
  if (status !== 407) {
    return Effect.fail(
      new ProxyRefused({ code: status, meaning: reason || (Http.STATUS_CODES[status] ?? "unknown status") })
    )
  }
  const wants = schemes.length === 0 ? "" : ` (it offers ${schemes.join(", ")})`
  return Effect.fail(
    new ProxyAuthentication({
      detail: authenticated
        ? `it does not accept the username and password${wants}`
        : `it wants credentials and there are none${wants}`
    })
  )
}

/**
 * Reads the head of the answer line by line, whatever the pieces it comes in. A line ends with CRLF or with LF alone (RFC
 * 9112, section 2.2); heads with an interim status (1xx) are passed over.
 */
const headReader = (authenticated: boolean) => {
  let line = ""
  let head: Head | undefined
  const complete = (text: string): Effect.Effect<void, DialErrorReason> | undefined => {
    if (head === undefined) {
      const [, status, reason = ""] = statusLine.exec(text) ?? []
      if (status === undefined) return nonsense(text)
      head = { status: Number(status), reason: printable(reason.trim()), schemes: [] }
    } else if (text !== "") {
      const [, scheme] = /^proxy-authenticate:\s*([^\s,]+)/i.exec(text) ?? []
      if (scheme !== undefined) head.schemes.push(printable(scheme))
    } else if (head.status < 200 && head.status !== 101) {
      head = undefined
    } else {
      return verdict(head, authenticated)
    }
    return undefined
  }
  return (bytes: Buffer): Answered<void, DialErrorReason> | undefined => {
    for (let used = 0; used < bytes.length;) {
      const end = bytes.indexOf(10, used)
      const known = line.length >= protocol.length
      line += bytes.toString("latin1", used, end === -1 ? bytes.length : end)
      used = end === -1 ? bytes.length : end + 1
      // what is no HTTP is known by its first bytes; the end of its first line may never come
      if (head === undefined && !known && !line.startsWith(protocol) && !protocol.startsWith(line)) {
        return { used, result: nonsense(line) }
      }
      if (end === -1) return undefined
      const result = complete(line.endsWith("\r") ? line.slice(0, -1) : line)
      line = ""
      if (result !== undefined) return { used, result }
    }
    return undefined
  }
}

/** Asks an HTTP proxy, on a connection to it, for a tunnel to the target (RFC 9110, section 9.3.6). */
export const connect = (
  duplex: Duplex,
  proxy: Proxy,
  target: Host.HostPort
): Effect.Effect<Duplex, DialErrorReason> =>
  Effect.suspend(() => {
    duplex.write(request(Host.formatHostPort(target), proxy.credentials))
    return answer(duplex, {
      limit: 64 * 1024,
      broken: (how) => new ProxyProtocol(how),
      parse: headReader(proxy.credentials !== undefined)
    }).pipe(Effect.as(duplex))
  })

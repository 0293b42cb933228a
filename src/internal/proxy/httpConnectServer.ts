import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Http from "node:http"
import type { Duplex } from "node:stream"
import type { DialErrorReason } from "../../errors/DialError.ts"
import { EndOfStream, Malformed, type TcpErrorReason, Unknown } from "../../errors/TcpError.ts"
import { answer } from "../net/handshake.ts"
import * as Target from "../net/target.ts"
import { basic } from "./httpConnect.ts"
import type { Request } from "./request.ts"
import type { Credentials } from "./settings.ts"

const statusOf = (reason: DialErrorReason): number =>
  reason._tag === "ConnectTimeout" ? 504 : reason._tag === "InvalidTarget" ? 400 : 502

const head = (status: number, headers: ReadonlyArray<string>) =>
  [`HTTP/1.1 ${status} ${Http.STATUS_CODES[status] ?? "No Reason"}`, ...headers, "\r\n"].join("\r\n")

const malformed = (detail: string) => new Malformed({ framing: "HTTP", detail })

const maxHead = 64 * 1024

/** Reads the head of a request, whatever the pieces it comes in, as its lines; what follows stays. */
const lines = (duplex: Duplex): Effect.Effect<ReadonlyArray<string>, TcpErrorReason> => {
  let text = ""
  return answer<ReadonlyArray<string>, TcpErrorReason>(duplex, {
    limit: maxHead,
    broken: ({ cause, detail }) =>
      cause !== undefined
        ? new Unknown({ detail: `no HTTP request: ${detail}`, cause })
        : text === ""
        ? new EndOfStream({ received: 0 })
        : malformed(detail),
    parse: (bytes) => {
      const had = text.length
      text += bytes.toString("latin1")
      // a line may end with LF alone (RFC 9112, section 2.2)
      const end = /\n\r?\n/.exec(text)
      return end === null ? undefined : {
        used: end.index + end[0].length - had,
        result: Effect.succeed(text.slice(0, end.index).split("\n").map((line) => line.trimEnd()))
      }
    }
  })
}

/** Says no. Who closes the stream sends it out first. */
const refuse = (duplex: Duplex, status: number, detail: string, headers: ReadonlyArray<string> = []) =>
  Effect.suspend(() => {
    duplex.write(head(status, [...headers, "Content-Length: 0"]))
    return Effect.fail(malformed(detail))
  })

/** The schemes of HTTP authentication are the same in any case (RFC 9110, section 11.1). */
const isLogin = (header: string | undefined, credentials: Credentials) =>
  header?.replace(/^basic +/i, "Basic ") === basic(credentials)

/**
 * Reads what a client of an HTTP proxy asks for: CONNECT (RFC 9110, section 9.3.6), with Basic credentials where there are some
 * (RFC 7617). Who asks for something else is told so. Has no time limit and does not close the stream: its caller does both.
 */
export const request = Effect.fnUntraced(function*(
  duplex: Duplex,
  credentials?: Credentials
): Effect.fn.Return<Request, TcpErrorReason> {
  const [line = "", ...headers] = yield* lines(duplex)
  const [, method, authority = ""] = /^(\S+) (\S+) HTTP\/1\.\d$/.exec(line) ?? []
  if (method === undefined) return yield* refuse(duplex, 400, "its first line is no request's")
  const login = headers.find((header) => /^proxy-authorization:/i.test(header))?.replace(/^[^:]*:\s*/, "")
  if (credentials !== undefined && !isLogin(login, credentials)) {
    const challenge = "Proxy-Authenticate: Basic realm=\"proxy\", charset=\"UTF-8\""
    const detail = login === undefined ? "it offers no credentials" : "its credentials are wrong"
    return yield* refuse(duplex, 407, detail, [challenge])
  }
  if (method !== "CONNECT") return yield* refuse(duplex, 405, "it does not ask for CONNECT", ["Allow: CONNECT"])
  const target = Target.parse(authority)
  if (Result.isFailure(target)) return yield* refuse(duplex, 400, target.failure.message)
  return {
    target: target.success,
    grant: () => {
      duplex.write(head(200, []))
      return 200
    },
    refuse: (why) => {
      const status = typeof why === "number" ? why : statusOf(why)
      duplex.write(head(status, ["Content-Length: 0"]))
      return status
    }
  }
})

import * as Effect from "effect/Effect"
import { DialError, InvalidTarget } from "../../../errors/DialError.ts"
import * as Target from "../../net/target.ts"

/** Where a channel leads to, as its URL says. */
export interface Address {
  readonly target: Target.Target
  readonly authority: string
  /** The name that the server's certificate is checked for. */
  readonly host: string
  readonly secure: boolean
}

/** The same, as it is given. */
export interface AddressInput {
  readonly url: string
  readonly authority?: string | undefined
  readonly tls?: unknown
}

/** Says what is wrong with where a channel is to lead to. */
export const refuse = (input: string, why: string): Effect.Effect<never, DialError> =>
  Effect.fail(new DialError({ target: input, hop: "grpc", reason: new InvalidTarget({ input, why }) }))

export const parseTarget = (input: Target.DialTarget): Effect.Effect<Target.Target, DialError> =>
  Effect.mapError(
    Effect.fromResult(Target.parse(input)),
    (reason) => new DialError({ target: reason.input, hop: "grpc", reason })
  )

/** Understands a URL, or says why it cannot. */
export const parseUrl = Effect.fnUntraced(function*(
  { authority, tls, url }: AddressInput
): Effect.fn.Return<Address, DialError> {
  const parsed = URL.parse(url)
  switch (parsed?.protocol) {
    case "unix:":
      return {
        target: yield* parseTarget({ path: decodeURIComponent(parsed.pathname) }),
        authority: authority ?? "localhost",
        host: "localhost",
        secure: tls !== undefined
      }
    case "http:":
    case "https:": {
      const secure = parsed.protocol === "https:"
      // without what could be a password
      const shown = `${parsed.protocol}//${parsed.host}`
      if (parsed.username !== "" || parsed.password !== "") return yield* refuse(shown, "credentials go into metadata")
      if (parsed.pathname !== "/" || parsed.search !== "" || parsed.hash !== "") {
        return yield* refuse(shown, "gRPC has no path after the host")
      }
      if (!secure && tls !== undefined) return yield* refuse(shown, "tls needs https")
      const port = parsed.port === "" ? secure ? "443" : "80" : parsed.port
      return {
        target: yield* parseTarget(`${parsed.hostname}:${port}`),
        authority: authority ?? parsed.host,
        host: parsed.hostname,
        secure
      }
    }
    default:
      return yield* refuse(
        parsed === null ? url : `${parsed.protocol}...`,
        "it should be http://host:port, https://host:port or unix:/path"
      )
  }
})

import * as Config from "effect/Config"
import type * as Host from "effect/net/Host"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { noProxy } from "./noProxy.ts"
import type { Route } from "./routes.ts"

/** What a connection will carry, which decides between `HTTPS_PROXY` and `HTTP_PROXY`. */
export type Scheme = "http" | "https"

/** The first variable that is there; one that is empty is not. */
const first = (...names: ReadonlyArray<string>) =>
  Config.map(Config.all(names.map((name) => Config.option(Config.Redacted(name)))), Option.firstSomeOf)

const variable = (name: string) => first(name.toLowerCase(), name)

/** In a CGI program this is not ours to read: `HTTP_PROXY` holds what the client sent as a header called `Proxy`. */
const httpProxy = Config.flatMap(
  Config.option(Config.String("REQUEST_METHOD")),
  (method) => Option.isSome(method) ? first("http_proxy") : variable("HTTP_PROXY")
)

/** As in curl, a proxy without a protocol is an `http` one. */
const withProtocol = (url: Redacted.Redacted): Redacted.Redacted =>
  Redacted.value(url).includes("://") ? url : Redacted.make(`http://${Redacted.value(url)}`, { label: "proxy URL" })

const schemeOf = (port: number): Scheme | undefined => port === 443 ? "https" : port === 80 ? "http" : undefined

/** The way to each target, as the environment has it; `scheme` is what all connections carry, where that is known. */
export const environment = (scheme: Scheme | undefined): Config.Config<(target: Host.HostPort) => Route> =>
  Config.map(
    Config.all({
      all: variable("ALL_PROXY"),
      https: variable("HTTPS_PROXY"),
      http: httpProxy,
      no: variable("NO_PROXY")
    }),
    ({ all, no, ...proxies }) => {
      const goesDirect = noProxy(Option.match(no, { onNone: () => "", onSome: Redacted.value }))
      return (target) => {
        const carries = scheme ?? schemeOf(target.port)
        const proxy = Option.orElse(carries === undefined ? Option.none() : proxies[carries], () => all)
        return Option.isNone(proxy) || goesDirect(target) ? "direct" : withProtocol(proxy.value)
      }
    }
  )

import * as Result from "effect/Result"

/** A server on the way, as `ProxyJump` names it. */
export interface Jump {
  readonly host: string
  readonly username: string | undefined
  readonly port: number | undefined
}

const bad = (text: string) => Result.fail(`"${text}" names no server to jump through`)

/** Names that a shell would take for more than a name are in no command of ours, but they are in no DNS either. */
const isHostname = (text: string) =>
  // eslint-disable-next-line no-control-regex
  text !== "" && !/^-|['`"$\\;&<>|(){},\s\u0000-\u001f\u007f]/.test(text)

const decode = (text: string): string | undefined =>
  Result.getOrUndefined(Result.try(() => decodeURIComponent(text.replaceAll("+", " "))))

const parseOne = (text: string): Result.Result<Jump, string> => {
  const uri = text.startsWith("ssh://")
  const address = uri ? text.slice(6) : text
  const at = uri ? address.indexOf("@") : address.lastIndexOf("@")
  const user = at < 0 ? undefined : address.slice(0, at)
  const username = user === undefined || !uri ? user : decode(user.split(";")[0]!)
  if (at >= 0 && (username === undefined || username === "")) return bad(text)
  const place = address.slice(at + 1).replace(uri ? /\/$/ : "", "")
  const [, bracketed, plain, port] = /^(?:\[([^\]]*)\]|([^:/[]+))(?::(\d*))?$/.exec(place) ?? []
  const host = bracketed ?? plain
  if (host === undefined || !isHostname(host)) return bad(text)
  if (port !== undefined && port !== "" && (Number(port) === 0 || Number(port) > 65535)) return bad(text)
  return Result.succeed({ host, username, port: port === undefined || port === "" ? undefined : Number(port) })
}

/** Understands what follows `ProxyJump`: the servers from here to there, none for `none`. */
export const parse = (rest: string): Result.Result<ReadonlyArray<Jump>, string> => {
  if (rest.toLowerCase() === "none") return Result.succeed([])
  return Result.all(rest.replace(/#.*$/s, "").trimEnd().split(",").map(parseOne))
}

const formatOne = ({ host, port, username }: Jump): string =>
  `${username === undefined ? "" : `${username}@`}${host.includes(":") ? `[${host}]` : host}${
    port === undefined ? "" : `:${port}`
  }`

/** The same servers, as they could be written. */
export const format = (jumps: ReadonlyArray<Jump>): string =>
  jumps.length === 0 ? "none" : jumps.map(formatOne).join(",")

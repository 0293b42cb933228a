import * as Result from "effect/Result"
import * as Tokens from "./tokens.ts"

/** Where a forwarding listens, or where it leads to. */
export type Endpoint =
  | { readonly host: string | undefined; readonly port: number }
  | { readonly path: string }

/** A forwarding; without a target the client of each connection names one, by SOCKS. */
export interface Forward {
  readonly listen: Endpoint
  readonly target: Endpoint | undefined
}

interface Field {
  readonly text: string
  readonly isPath: boolean
}

/** Splits at colons; what stands in brackets is taken as it is, and `\` quotes. */
const fieldsOf = (spec: string): ReadonlyArray<Field> | undefined => {
  const fields: Array<Field> = []
  let at = 0
  while (at < spec.length) {
    if (fields.length === 4) return undefined
    if (spec[at] === "[") {
      const close = spec.indexOf("]", at)
      if (close < 0 || (close + 1 < spec.length && spec[close + 1] !== ":")) return undefined
      const text = spec.slice(at + 1, close)
      fields.push({ text, isPath: text.includes("/") })
      at = close + 2
      continue
    }
    let text = ""
    let isPath = false
    for (; at < spec.length && spec[at] !== ":"; at++) {
      if (spec[at] === "\\" && ++at === spec.length) return undefined
      isPath ||= spec[at] === "/"
      text += spec[at]!
    }
    fields.push({ text, isPath })
    at++
  }
  return fields
}

const portOf = (text: string): number | undefined => {
  const port = /^\d+$/.test(text) ? Number(text) : Infinity
  return port <= 65535 ? port : undefined
}

const at = (host: string | undefined, port: Field): Endpoint | undefined => {
  const number = portOf(port.text)
  return number === undefined ? undefined : { host, port: number }
}

const pathOf = (field: Field): Endpoint => ({ path: field.text })

const shape = (
  fields: ReadonlyArray<Field>
): readonly [listen: Endpoint | undefined, target: Endpoint | "socks" | undefined] => {
  const [a, b, c, d] = fields
  if (a === undefined) return [undefined, undefined]
  if (b === undefined) return [a.isPath ? pathOf(a) : at(undefined, a), "socks"]
  if (c === undefined) {
    if (a.isPath && b.isPath) return [pathOf(a), pathOf(b)]
    return b.isPath ? [at(undefined, a), pathOf(b)] : [at(a.text, b), "socks"]
  }
  if (d === undefined) {
    if (a.isPath) return [pathOf(a), at(b.text, c)]
    return c.isPath ? [at(a.text, b), pathOf(c)] : [at(undefined, a), at(b.text, c)]
  }
  return [at(a.text, b), at(c.text, d)]
}

export const directions = ["localforward", "remoteforward", "dynamicforward"] as const

/** The keywords that forward. */
export type Direction = typeof directions[number]

export const isDirection = (keyword: string): keyword is Direction => directions.some((one) => one === keyword)

/** Understands what follows `LocalForward`, `RemoteForward` or `DynamicForward`. */
export const parse = (
  direction: Direction,
  words: ReadonlyArray<string>,
  environment: Tokens.Environment
): Result.Result<Forward, string> => {
  const [from = "", to] = words
  const dynamic = direction === "dynamicforward" || (direction === "remoteforward" && to === undefined)
  if (!dynamic && to === undefined) return Result.fail("the target is missing")
  if (words.length > (direction === "dynamicforward" ? 1 : 2)) {
    return Result.fail(`"${words.at(-1)}" is one word too many`)
  }
  const bad = Result.fail("this is no forwarding")
  const spec = Tokens.expandVariables(to === undefined ? from : `${from}:${to}`, environment)
  if (Result.isFailure(spec)) return Result.fail(spec.failure)
  const fields = fieldsOf(spec.success.trimStart())
  if (fields === undefined) return bad
  const [listen, target] = shape(fields)
  if (listen === undefined || target === undefined || (target === "socks") !== dynamic) return bad
  if (dynamic && fields.length > 2) return bad
  if ("port" in listen && listen.port === 0 && direction !== "remoteforward") return bad
  if (target !== "socks" && "port" in target && target.port === 0) return bad
  return Result.succeed({ listen, target: target === "socks" ? undefined : target })
}

const show = (endpoint: Endpoint): string =>
  "path" in endpoint
    ? endpoint.path
    : endpoint.host === undefined
    ? `${endpoint.port}`
    : `[${endpoint.host}]:${endpoint.port}`

/** As `ssh -G` prints it. */
export const format = (direction: Direction, { listen, target }: Forward): string => {
  if (direction === "dynamicforward") return show(listen)
  return `${show(listen)} ${target === undefined ? "[socks]:0" : show(target)}`
}

const mapPath = (
  endpoint: Endpoint,
  expand: (path: string) => Result.Result<string, string>
): Result.Result<Endpoint, string> =>
  "path" in endpoint ? Result.map(expand(endpoint.path), (path) => ({ path })) : Result.succeed(endpoint)

/** The same with tokens replaced, which only its paths may have. */
export const mapPaths = (
  { listen, target }: Forward,
  expand: (path: string) => Result.Result<string, string>
): Result.Result<Forward, string> =>
  Result.all({
    listen: mapPath(listen, expand),
    target: target === undefined ? Result.succeed(undefined) : mapPath(target, expand)
  })

const bindOf = (endpoint: Endpoint, anywhere: boolean) => {
  if ("path" in endpoint) return endpoint
  const { host, port } = endpoint
  const isAny = host === "" || host === "*" || (host === undefined && anywhere)
  return { host: isAny ? "0.0.0.0" : host ?? "localhost", port }
}

const targetOf = (endpoint: Endpoint) =>
  "path" in endpoint ? endpoint : { host: endpoint.host ?? "localhost", port: endpoint.port }

/** As `SshForward.ForwardSettings`. `anywhere` has listeners of this machine listen at all of its addresses. */
export const toSettings = (direction: Direction, { listen, target }: Forward, anywhere: boolean) => {
  const isRemote = direction === "remoteforward"
  const bind = bindOf(listen, anywhere && !isRemote)
  return target === undefined
    ? { _tag: isRemote ? "RemoteDynamic" : "Dynamic", bind } as const
    : { _tag: isRemote ? "Remote" : "Local", bind, target: targetOf(target) } as const
}

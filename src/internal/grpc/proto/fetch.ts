import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { DialError } from "../../../errors/DialError.ts"
import { GrpcSchemaError, Unfetchable } from "../../../errors/GrpcSchemaError.ts"
import type { TlsConfigError } from "../../../errors/TlsConfigError.ts"
import { within } from "../../net/deadline.ts"
import * as Hop from "../../net/hop.ts"
import { tlsHop } from "../../tls/handshake.ts"
import * as TlsOptions from "../../tls/options.ts"
import * as Http from "./http.ts"
import { type Limits, Quota } from "./limits.ts"
import type { Find, Source } from "./load.ts"
import * as Standard from "./standard.ts"

/** How definitions are fetched. */
export interface FetchOptions extends Limits {
  /** Where imports are looked for after the folder of the file that was asked for. Each stands for a folder. */
  readonly includeUrls?: ReadonlyArray<string | URL> | undefined
  /** Sent with each request to the server that was asked first, such as `authorization`, and to no other. */
  readonly headers?: { readonly [name: string]: string | Redacted.Redacted } | undefined
  /** For `https`. Default: certificates are verified against the authorities that Node ships. */
  readonly tls?: TlsOptions.TlsOptions | undefined
  /** How long all of it may take, from the first connection on. Default 30 seconds. */
  readonly timeout?: Duration.Input | undefined
  /** How often a server may send us elsewhere for one file. Default 5. */
  readonly maxRedirects?: number | undefined
}

export type FetchError = GrpcSchemaError | DialError | TlsConfigError

/** A URL as errors may show it. */
const shown = (url: URL) => `${url.protocol}//${url.host}${url.pathname}`

const unfetchable = (url: URL | string, why: string, status?: number) =>
  new GrpcSchemaError({ reason: new Unfetchable({ url: typeof url === "string" ? url : shown(url), why, status }) })

const isHttp = ({ protocol }: URL) => protocol === "http:" || protocol === "https:"

const parseUrl = (input: string | URL): Effect.Effect<URL, GrpcSchemaError> => {
  const url = typeof input === "string" ? URL.parse(input) : input
  if (url === null) return Effect.fail(unfetchable(String(input).replace(/\?.*$|\/\/[^/]*@/gs, ""), "it is no URL"))
  return isHttp(url) ? Effect.succeed(url) : Effect.fail(unfetchable(url, "only http and https are fetched"))
}

/** The folder of a file, or of what stands for a folder. Imports have no part in a query. */
const folderOf = (url: URL): URL => new URL(url.pathname.replace(/[^/]*$/, ""), url.origin)
const asFolder = (url: URL): URL => new URL(url.pathname.replace(/\/?$/, "/"), url.origin)

/** A name as it stands in an import, below a folder. Names that lead out of it are none. */
const below = (folder: URL, name: string): URL | undefined => {
  const parts = name.split("/")
  return parts.some((part) => part === "" || part === "." || part === ".." || part.includes("\\"))
    ? undefined
    : new URL(parts.map(encodeURIComponent).join("/"), folder)
}

/** What percents stand for; as it is where they make no sense. */
const unescaped = (text: string) =>
  Result.getOrElse(Result.try({ try: () => decodeURIComponent(text), catch: () => text }), (text) => text)

/** The folder from which the file at `url` is called `name`, or else the one that it lies in. */
const baseFor = (url: URL, name: string): URL => {
  const parts = url.pathname.split("/")
  const own = parts.splice(-name.split("/").length).map(unescaped).join("/")
  return own === name && parts.length > 0 ? new URL(`${parts.join("/")}/`, url.origin) : folderOf(url)
}

/** By what others import the file at `url`: its way from the first folder that it lies in, or from its own. */
const nameOf = (url: URL, folders: ReadonlyArray<URL>): string => {
  const folder = folders.find(({ href }) => url.href.startsWith(href)) ?? folderOf(url)
  return unescaped(url.pathname.slice(folder.pathname.length))
}

/** Fetches definitions over a path, for one schema: all limits are for all of them together. */
export class Fetcher {
  private readonly path: Hop.Path
  private readonly secure: Hop.Path
  private readonly headers: { readonly [name: string]: string }
  private readonly folders: ReadonlyArray<URL>
  private readonly timeout: Duration.Duration
  private readonly maxRedirects: number
  private readonly quota: Quota
  private started: number | undefined
  /** Of the server that was asked first. */
  private origin: string | undefined

  constructor(path: Hop.Path, secure: Hop.Path, folders: ReadonlyArray<URL>, options: FetchOptions) {
    this.path = path
    this.secure = secure
    this.folders = folders
    this.headers = Object.fromEntries(
      Object.entries(options.headers ?? {}).map((
        [name, value]
      ) => [name.toLowerCase(), Redacted.isRedacted(value) ? Redacted.value(value) : value])
    )
    this.timeout = Duration.fromInputUnsafe(options.timeout ?? "30 seconds")
    this.maxRedirects = options.maxRedirects ?? 5
    this.quota = new Quota(options)
  }

  /** One request, for which the rest of the time is there. */
  private readonly ask = Effect.fnUntraced({ self: this }, function*(url: URL) {
    this.origin ??= url.origin
    const headers = { ...(url.origin === this.origin ? this.headers : {}), ...authorization(url) }
    const wrong = Http.wrongHeader(headers)
    if (wrong !== undefined) return yield* unfetchable(url, wrong)
    const [path, port] = url.protocol === "https:" ? [this.secure, "443"] : [this.path, "80"]
    const now = yield* Clock.currentTimeMillis
    this.started ??= now
    const left = Duration.subtract(this.timeout, Duration.millis(now - this.started))
    const target = `${url.hostname}:${url.port === "" ? port : url.port}`
    return yield* within(
      path.dial(target).pipe(
        Effect.flatMap((duplex) =>
          Effect.mapError(
            Http.get(duplex, { url, headers, maxSize: this.quota.maxFileSize }),
            (why) => unfetchable(url, why)
          )
        ),
        Effect.scoped
      ),
      left,
      () => Effect.fail(unfetchable(url, `no answer within ${Duration.format(this.timeout)}`))
    )
  })

  /** The text at a URL, or `undefined` when nothing is there. */
  private readonly read = Effect.fnUntraced({ self: this }, function*(
    first: URL
  ): Effect.fn.Return<string | undefined, FetchError> {
    yield* this.quota.file(shown(first))
    const seen = new Set<string>()
    for (let url = first;;) {
      if (seen.has(url.href)) return yield* unfetchable(url, "it redirects to itself")
      if (seen.size > this.maxRedirects) {
        return yield* unfetchable(first, `it redirects more than ${this.maxRedirects} times`)
      }
      seen.add(url.href)
      const { body, encoding, location, meaning, status } = yield* this.ask(url)
      if (status >= 300 && status < 400 && location !== undefined) {
        const next = URL.parse(location, url.href)
        if (next === null || !isHttp(next) || (url.protocol === "https:" && next.protocol !== "https:")) {
          return yield* unfetchable(url, `it redirects to another scheme (${next?.protocol ?? "none"})`)
        }
        url = next
        continue
      }
      if (status === 404 || status === 410) return undefined
      if (status !== 200) return yield* unfetchable(url, `the server says ${status} ${meaning}`.trim(), status)
      if (body === undefined) return yield* this.quota.tooLarge(shown(url))
      if (encoding !== undefined && encoding !== "identity") {
        return yield* unfetchable(url, "the server compressed it, which was not asked for")
      }
      yield* this.quota.bytes(shown(url), body.length)
      return new TextDecoder().decode(body)
    }
  })

  private finderIn(folders: ReadonlyArray<URL>): Find<FetchError> {
    const find: Find<FetchError> = Effect.fnUntraced({ self: this }, function*(name) {
      // the well-known ones need no request
      if (Standard.isThere(name)) return undefined
      for (const folder of folders) {
        const url = below(folder, name)
        const text = url === undefined ? undefined : yield* this.read(url)
        if (text !== undefined && url !== undefined) return { name, shown: shown(url), text, find }
      }
      return undefined
    })
    return find
  }

  /** The file at a URL. Without a `name` it gets one by the folder that it lies in. */
  readonly source = Effect.fnUntraced({ self: this }, function*(
    input: string | URL,
    given?: string
  ): Effect.fn.Return<Source<FetchError>, FetchError> {
    const url = yield* parseUrl(input)
    const text = yield* this.read(url)
    if (text === undefined) return yield* unfetchable(url, "there is nothing", 404)
    const name = given ?? nameOf(url, this.folders)
    const folders = new Map([baseFor(url, name), folderOf(url), ...this.folders].map((folder) => [folder.href, folder]))
    return { name, shown: shown(url), text, find: this.finderIn([...folders.values()]) }
  })
}

/** What a URL says of who asks. */
const authorization = ({ password, username }: URL) =>
  username === "" && password === "" ? {} : {
    authorization: `Basic ${Buffer.from(`${unescaped(username)}:${unescaped(password)}`).toString("base64")}`
  }

/** A fetcher over `path`, with TLS inside it where a URL says so. */
export const make = Effect.fnUntraced(function*(
  path: Hop.Path,
  options: FetchOptions
): Effect.fn.Return<Fetcher, GrpcSchemaError | TlsConfigError> {
  const folders = yield* Effect.forEach(options.includeUrls ?? [], parseUrl)
  const tls = yield* TlsOptions.resolve({ ...options.tls, alpn: options.tls?.alpn ?? ["http/1.1"] })
  return new Fetcher(path, Hop.through(path, tlsHop(tls)), folders.map(asFolder), options)
})

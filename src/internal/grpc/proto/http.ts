import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Http from "node:http"
import type { Duplex } from "node:stream"

/** What a server answered to one GET. */
export interface Answer {
  readonly status: number
  readonly meaning: string
  /** Where it says the thing is instead. */
  readonly location: string | undefined
  readonly encoding: string | undefined
  /** `undefined` when it is more than was asked for. */
  readonly body: Buffer | undefined
}

/** A request, and how much of an answer is read. */
export interface Request {
  readonly url: URL
  readonly headers: { readonly [name: string]: string }
  readonly maxSize: number
}

/** The plain text of an error, for `why`. */
const saying = (cause: unknown) => cause instanceof Error && cause.message !== "" ? cause.message : "no answer"

/**
 * Asks once over a connection that is there already, by Node's own HTTP. The connection is for nothing else afterwards; its
 * scope closes it.
 */
export const get = (duplex: Duplex, { headers, maxSize, url }: Request): Effect.Effect<Answer, string> =>
  Effect.callback((resume) => {
    const done = (result: Effect.Effect<Answer, string>) => {
      resume(result)
      request.destroy()
    }
    const onResponse = (response: Http.IncomingMessage) => {
      const chunks: Array<Buffer> = []
      let size = 0
      const answer = (body: Buffer | undefined) =>
        done(Effect.succeed({
          status: response.statusCode ?? 0,
          meaning: response.statusMessage ?? "",
          location: response.headers.location,
          encoding: response.headers["content-encoding"],
          body
        }))
      response.on("error", () => done(Effect.fail("the connection ended before the answer did")))
      // only what is meant to be read is
      if (response.statusCode !== 200) return answer(Buffer.alloc(0))
      if (Number(response.headers["content-length"] ?? 0) > maxSize) return answer(undefined)
      response.on("data", (chunk: Buffer) => {
        size += chunk.length
        if (size > maxSize) return answer(undefined)
        chunks.push(chunk)
      })
      response.on("end", () => answer(Buffer.concat(chunks)))
    }
    const request = Http.request({
      createConnection: () => duplex,
      path: `${url.pathname}${url.search}`,
      headers: { ...headers, host: url.host, "accept-encoding": "identity", connection: "close" }
    })
    request.on("response", onResponse)
    request.on("error", (error) => done(Effect.fail(saying(error))))
    request.end()
    return Effect.sync(() => void request.destroy())
  })

/** Says what is wrong with headers, without what they hold; `undefined` when nothing is. */
export const wrongHeader = (headers: { readonly [name: string]: string }): string | undefined => {
  const wrong = Object.entries(headers).find(([name, value]) =>
    Result.isFailure(Result.try(() => {
      Http.validateHeaderName(name)
      Http.validateHeaderValue(name, value)
    }))
  )
  return wrong === undefined ? undefined : `"${wrong[0]}" is no header of HTTP`
}

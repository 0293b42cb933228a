import type { Duplex } from "node:stream"
import type { OutgoingHeaders } from "./metadata.ts"

/** One call on HTTP/2, as far as the client's side of it is used: what `node:http2` gives, or what stands in for it. */
export interface ClientStream extends Duplex {
  /** With which code the stream was closed, once it is. */
  readonly rstCode: number
  readonly close: (code: number) => void
}

/** Headers of a response, as `node:http2` takes them. */
export interface ResponseHeaders {
  readonly [name: string]: string | number | Array<string> | undefined
}

/** How a response goes on after its headers. */
export interface RespondOptions {
  /** The headers are all there is. */
  readonly endStream?: boolean
  /** Once everything else is sent, `wantTrailers` is emitted. */
  readonly waitForTrailers?: boolean
}

/** The same on the server's side. */
export interface ServerStream extends Duplex {
  readonly id?: number | undefined
  readonly respond: (headers: ResponseHeaders, options?: RespondOptions) => void
  readonly sendTrailers: (headers: OutgoingHeaders) => void
  readonly close: (code: number) => void
}

import * as Http2 from "node:http2"
import { FakeDuplex } from "../../fakes/duplex.ts"
import type { OutgoingHeaders, RawHeaders } from "../wire/metadata.ts"
import type { ClientStream, RespondOptions, ResponseHeaders, ServerStream } from "../wire/streams.ts"

const { NGHTTP2_FLAG_END_STREAM, NGHTTP2_NO_ERROR } = Http2.constants

/** Headers as they come out of HTTP/2: names and values in turn. */
export const rawOf = (headers: ResponseHeaders): RawHeaders =>
  Object.entries(headers).flatMap(([name, value]) => [value ?? []].flat().flatMap((value) => [name, String(value)]))

/** The client's end of a call that no HTTP/2 carries. */
export class FakeClientStream extends FakeDuplex implements ClientStream {
  rstCode: number = NGHTTP2_NO_ERROR

  /** The two ends of one call. */
  static ends(id: number): readonly [FakeClientStream, FakeServerStream] {
    const server = new FakeServerStream(id)
    const client = new FakeClientStream()
    server.client = client
    return FakeDuplex.join(client, server)
  }

  close(code: number): void {
    this.rstCode = code
    this.destroy()
  }
}

/** The server's end of such a call. */
export class FakeServerStream extends FakeDuplex implements ServerStream {
  readonly id: number
  client: FakeClientStream | undefined
  private hasTrailers = false

  constructor(id: number) {
    super()
    this.id = id
  }

  respond(headers: ResponseHeaders, options: RespondOptions = {}): void {
    const isAll = options.endStream === true
    this.hasTrailers = options.waitForTrailers === true
    this.tell(() => this.client?.emit("response", headers, isAll ? NGHTTP2_FLAG_END_STREAM : 0, rawOf(headers)))
    if (isAll) this.end()
  }

  sendTrailers(headers: OutgoingHeaders): void {
    this.tell(() => this.client?.emit("trailers", headers, NGHTTP2_FLAG_END_STREAM, rawOf(headers)))
  }

  close(code: number): void {
    this.tell(() => this.client?.close(code))
    this.destroy()
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.hasTrailers) this.emit("wantTrailers")
    super._final(done)
  }

  /** The client has given the call up, or has had its end. */
  protected override gone(): void {
    if (!this.writableEnded) this.emit("aborted")
    this.destroy()
  }
}

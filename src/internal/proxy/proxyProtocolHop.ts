import * as Effect from "effect/Effect"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { Duplex } from "node:stream"
import { InvalidTarget } from "../../errors/DialError.ts"
import { addressOf } from "../net/duplex.ts"
import type { Hop } from "../net/hop.ts"
import type { ProxyHeader, ProxyTlvs } from "./proxyHeader.ts"
import * as V1 from "./proxyHeaderV1.ts"
import * as V2 from "./proxyHeaderV2.ts"

/** What the header says that each connection begins with. */
export interface SendOptions {
  /** 1 is a line of text, 2 is binary. Default 2. */
  readonly version?: 1 | 2 | undefined
  /**
   * On whose behalf the connection is made, such as the `remoteAddress` of the connection that is relayed. Default: this
   * end of the connection itself.
   */
  readonly source?: NetAddress.SocketAddress.Input | undefined
  /** Which address the client had connected to. Default: the far end of the connection itself. */
  readonly destination?: NetAddress.SocketAddress.Input | undefined
  /** What else to say; version 2 only. Default nothing. */
  readonly tlvs?: ProxyTlvs | undefined
  /** Let the receiver check the header with CRC32C; version 2 only. Default false. */
  readonly checksum?: boolean | undefined
}

const end = (given: NetAddress.SocketAddress.Input | undefined, duplex: Duplex, side: "local" | "remote") =>
  given === undefined
    ? Result.succeed(Option.getOrUndefined(addressOf(duplex, side)))
    : Result.mapError(NetAddress.socketAddressFromInput(given), ({ message }) => message)

const encode = (options: SendOptions, duplex: Duplex): Result.Result<Buffer, string> =>
  Result.gen(function*() {
    const { checksum = false, tlvs = {}, version = 2 } = options
    const source = yield* end(options.source, duplex, "local")
    const destination = yield* end(options.destination, duplex, "remote")
    const says = source !== undefined || destination !== undefined ||
      Object.values(tlvs).some((tlv) => tlv !== undefined)
    const header: ProxyHeader = { version, command: says ? "PROXY" : "LOCAL", source, destination, tlvs }
    if (version === 2) return yield* V2.encode(header, checksum)
    if (checksum || Object.values(tlvs).some((tlv) => tlv !== undefined)) {
      return yield* Result.fail("version 1 has neither fields nor a checksum")
    }
    return V1.encode(header)
  })

/** Sends a PROXY header first. Settings that cannot be used fail each dial with `InvalidTarget`. */
export const proxyProtocolHop = (options: SendOptions): Hop => ({
  name: "proxy-protocol",
  via: Effect.succeed,
  handshake: (duplex) =>
    Result.match(encode(options, duplex), {
      onFailure: (why) => Effect.fail(new InvalidTarget({ input: "the PROXY header's settings", why })),
      onSuccess: (header) =>
        Effect.sync(() => {
          duplex.write(header)
          return duplex
        })
    })
})

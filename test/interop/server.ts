/** What the cases know of a server, whoever's it is. */
import type * as NetAddress from "effect/net/NetAddress"

/** For whoever wants to know what became of calls. */
export interface Seen {
  /** Calls that reached a handler. */
  started: number
  /** Calls that the client cancelled. */
  cancelled: number
  /** Calls that the client ended as it should. */
  completed: number
}

export interface Server {
  readonly address: NetAddress.SocketAddress
  readonly seen: Seen
}

/** Metadata that the server sends back, at the beginning and at the end. */
export const echoInitial = "x-grpc-test-echo-initial"
export const echoTrailing = "x-grpc-test-echo-trailing-bin"

interface Sized {
  readonly payload?: { readonly body?: Uint8Array | undefined } | null | undefined
}

/** A request that may say whether it is compressed. */
export interface Expecting extends Sized {
  readonly expectCompressed?: { readonly value?: boolean | undefined } | null | undefined
}

export const sizeOf = ({ payload }: Sized): number => payload?.body?.length ?? 0

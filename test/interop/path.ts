/** A way from a client to a server: what a case runs over. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import type * as Scope from "effect/Scope"
import type { DialTarget } from "../../src/internal/net/target.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import type { Credentials } from "../../src/testing/TestCertificates.ts"
import { counted, type Wire } from "./wire.ts"

/** Certificates: the server's, the client's where the server wants one, and the authority that both trust. */
export interface Certificates {
  readonly ca: string
  readonly server: Credentials
  readonly client?: Credentials | undefined
}

/** What differs between paths. */
export interface PathOptions {
  /** Where the server listens. Default: a free port of 127.0.0.1. */
  readonly bind?: { readonly host: string; readonly port: number } | { readonly path: string } | undefined
  readonly certificates?: Certificates | undefined
}

/**
 * A path: how the client dials, where and with what the server listens, what goes over the wire there, and the target of
 * a bound address.
 */
export class Path extends Context.Service<Path, {
  readonly dialer: Dialer.Dialer["Service"]
  readonly listener: Listener.Listener["Service"]
  readonly wire: Wire
  readonly bind: { readonly host: string; readonly port: number } | { readonly path: string }
  readonly certificates: Certificates | undefined
}>()("test/interop/Path") {}

/** A path over a network. */
export const make = Effect.fnUntraced(function*({ bind = { host: "127.0.0.1", port: 0 }, certificates }: PathOptions) {
  const { listener, wire } = counted(yield* Listener.Listener)
  return Path.of({ dialer: yield* Dialer.Dialer, listener, wire, bind, certificates })
})

/** What a client dials to get to a server that is bound there. */
export const targetOf = (path: Path["Service"], address: NetAddress.SocketAddress): DialTarget =>
  "path" in path.bind || !NetAddress.isInetAddress(address) ? path.bind : { host: path.bind.host, port: address.port }

/** As a URL. */
export const urlOf = (path: Path["Service"], address: NetAddress.SocketAddress): string => {
  if ("path" in path.bind) return `unix:${path.bind.path}`
  const port = NetAddress.isInetAddress(address) ? address.port : path.bind.port
  return `${path.certificates === undefined ? "http" : "https"}://${path.bind.host}:${port}`
}

/** As a layer, over one that gives a network. */
export const layer = <E, R>(
  network: Layer.Layer<Dialer.Dialer | Listener.Listener, E, R>,
  options: Effect.Effect<PathOptions, never, Scope.Scope> = Effect.succeed({})
): Layer.Layer<Path, E, R> => Layer.effect(Path, Effect.flatMap(options, make)).pipe(Layer.provide(network))

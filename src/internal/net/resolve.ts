import * as Effect from "effect/Effect"
import * as AddressResolver from "effect/net/AddressResolver"
import type * as Dns from "effect/net/Dns"
import { hostPortFromInput } from "effect/net/Host"
import * as NetAddress from "effect/net/NetAddress"
import * as NodeDns from "node:dns"
import { NameNotFound } from "../../errors/DialError.ts"

/** An address that a name stands for, with the port that goes with it. */
export interface Resolved {
  readonly host: string
  readonly port: number
}

/** A question for the addresses of a name; in the order in which they are to be tried. */
export type Lookup = Effect.Effect<ReadonlyArray<Resolved>, NameNotFound>

/**
 * How names become addresses: the questions to ask at the same time, the one whose answer is preferred first. Asking for
 * a single family gives only addresses of that one.
 */
export type Resolver = (name: string, port: number, family?: NetAddress.IpFamily) => ReadonlyArray<Lookup>

/** The operating system's resolver: one question for both families, which sorts its answer by RFC 6724. */
export const system: Resolver = (name, port, family) => [
  Effect.callback((resume) => {
    NodeDns.lookup(
      name,
      { all: true, order: "verbatim", family: family === undefined ? 0 : family === "IPv4" ? 4 : 6 },
      (cause, found) =>
        resume(
          cause === null
            ? Effect.succeed(found.map(({ address }) => ({ host: address, port })))
            : Effect.fail(new NameNotFound({ name, code: cause.code ?? "ENOTFOUND", cause }))
        )
    )
  })
]

/** Effect's `Dns`: a question for each family, so that a slow answer to one does not hold up the other. */
export const fromDns = (dns: Dns.Dns["Service"]): Resolver => {
  const resolver = AddressResolver.make(dns)
  const ask = (name: string, port: number, family: NetAddress.IpFamily): Lookup =>
    Effect.fromResult(hostPortFromInput({ host: name, port })).pipe(
      Effect.flatMap((target) => resolver.resolve(target, { family })),
      Effect.map((found) => found.map((address) => ({ host: NetAddress.formatHost(address), port }))),
      Effect.mapError((cause) =>
        new NameNotFound({ name, code: cause._tag === "DnsError" ? cause.reason : "NotFound", cause })
      )
    )
  return (name, port, family) =>
    (family === undefined ? ["IPv6", "IPv4"] as const : [family]).map((family) => ask(name, port, family))
}

/** Of several failures to find a name one that may pass, where there is one. */
export const mostHopeful = (failures: ReadonlyArray<NameNotFound>): NameNotFound | undefined =>
  failures.find(({ isRetryable }) => isRetryable) ?? failures[0]

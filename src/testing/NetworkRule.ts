/**
 * What goes wrong on a `TestNetwork`: rules that say what becomes of each packet, given to `network.rule`.
 *
 * A rule is a function from a `Packet` (a request for a connection, the answer to it, bytes, the end of a stream, a reset)
 * to a `Verdict`, or to `undefined`, which leaves it to the next rule. The rules in force are asked in the order in which
 * they came, and the first verdict counts; a packet without one passes. A packet is judged in the moment that it would
 * arrive.
 *
 * **Details**
 *
 * - Rules see the order of TCP, not its packets: nothing ever overtakes what was sent before it on a connection, and what is
 *   dropped is sent again, as TCP does, after pauses that double from 200 milliseconds to two minutes, and at once when the
 *   rules of the network have changed. After about a quarter of an hour the sender gives up: its end fails with
 *   `ETIMEDOUT`. A request for a connection is sent again after a second, two, four, for about two minutes.
 * - What is sent to a host that is down is lost whatever the rules say, also when it was delayed.
 * - What `random` gives, and `chance`, comes from the network's seed: use it instead of `Math.random`, or the test cannot be
 *   repeated.
 *
 * **Example** (A server that breaks every third connection, and one that is slow to accept)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { NetworkRule, TestNetwork } from "hawser/testing"
 *
 * const faults = Effect.gen(function*() {
 *   const network = yield* TestNetwork.TestNetwork
 *   yield* network.rule(NetworkRule.when({ to: "db", port: 5432 }, (packet) =>
 *     packet.connection % 3 === 0 ? NetworkRule.reset : undefined))
 *   yield* network.rule(NetworkRule.when({ to: "web", kind: "connect" }, NetworkRule.delay("2 seconds")))
 * })
 * ```
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import { normalize } from "../internal/memory/hosts.ts"
import type { NetworkRule, Packet, Verdict } from "../internal/memory/rules.ts"

export type {
  /**
   * Says what becomes of a packet, or leaves it to the next rule.
   *
   * @category models
   * @since 0.1.0
   */
  NetworkRule,
  /**
   * Something that is about to arrive.
   *
   * @category models
   * @since 0.1.0
   */
  Packet,
  /**
   * What becomes of a packet. Made by the values and functions of this module.
   *
   * @category models
   * @since 0.1.0
   */
  Verdict
} from "../internal/memory/rules.ts"

/**
 * Lets the packet through, whatever the rules behind would say.
 *
 * @category verdicts
 * @since 0.1.0
 */
export const pass: Verdict = { _tag: "Pass" }

/**
 * Loses the packet. It is sent again later, so that bytes come late or never, but are never missing in between; a dial
 * fails with `ConnectTimeout` in the end.
 *
 * @category verdicts
 * @since 0.1.0
 */
export const drop: Verdict = { _tag: "Drop" }

/**
 * Keeps the packet, and all that comes behind it on its connection, until the rules of the network change and let it
 * through.
 *
 * @category verdicts
 * @since 0.1.0
 */
export const hold: Verdict = { _tag: "Hold" }

/**
 * Lets the packet through so much later, without asking again.
 *
 * @category verdicts
 * @since 0.1.0
 */
export const delay = (by: Duration.Input): Verdict => ({ _tag: "Delay", by })

/**
 * Refuses a request for a connection: the dial fails with `Refused`. For anything else the same as `reset`.
 *
 * @category verdicts
 * @since 0.1.0
 */
export const refuse: Verdict = { _tag: "Refuse" }

/**
 * Breaks the connection in place of delivering the packet: both ends fail with `ECONNRESET`. A request for a connection is
 * refused.
 *
 * @category verdicts
 * @since 0.1.0
 */
export const reset: Verdict = { _tag: "Reset", after: 0 }

/**
 * Ends the connection in place of delivering the packet, as a middlebox does that closes it: both ends read the end of the
 * stream, and what is written afterwards is lost. A request for a connection is refused.
 *
 * @category verdicts
 * @since 0.1.0
 */
export const end: Verdict = { _tag: "End", after: 0 }

/**
 * Delivers bytes with one bit of one of them turned over, anywhere. Anything else passes.
 *
 * @category verdicts
 * @since 0.1.0
 */
export const corrupt: Verdict = { _tag: "Corrupt", at: undefined }

/** Whether a packet has the byte at an offset, or comes behind it. */
const reaches = (packet: Packet, offset: number) => packet.offset + Math.max(1, packet.size) > offset

const cut = (offset: number, verdict: (after: number) => Verdict): NetworkRule => (packet) =>
  (packet.kind === "data" || packet.kind === "end") && reaches(packet, offset)
    ? verdict(Math.max(0, offset - packet.offset))
    : undefined

/**
 * Breaks a connection, as `reset` does, when exactly so many bytes have arrived in a direction. Counted for each connection
 * and direction by itself; choose one with `when`.
 *
 * @category rules
 * @since 0.1.0
 */
export const resetAt = (offset: number): NetworkRule => cut(offset, (after) => ({ _tag: "Reset", after }))

/**
 * Ends a connection, as `end` does, when exactly so many bytes have arrived in a direction.
 *
 * @category rules
 * @since 0.1.0
 */
export const endAt = (offset: number): NetworkRule => cut(offset, (after) => ({ _tag: "End", after }))

/**
 * Loses everything of a direction from the packet on that has the byte with this offset: the connection is there, but stays
 * silent.
 *
 * @category rules
 * @since 0.1.0
 */
export const silentAt = (offset: number): NetworkRule => (packet) =>
  packet.kind !== "connect" && packet.kind !== "accept" && reaches(packet, offset) ? drop : undefined

/**
 * Turns over one bit of the byte with this offset, counted from 0, of a direction.
 *
 * @category rules
 * @since 0.1.0
 */
export const corruptAt = (offset: number): NetworkRule => (packet) =>
  packet.kind === "data" && packet.offset <= offset && offset < packet.offset + packet.size
    ? { _tag: "Corrupt", at: offset - packet.offset }
    : undefined

/**
 * What a packet has to be like; what is not given does not matter.
 *
 * @category models
 * @since 0.1.0
 */
export interface PacketFilter {
  /** The host that sent it, or one of them. */
  readonly from?: string | ReadonlyArray<string> | undefined
  /** The host that it is for, or one of them. */
  readonly to?: string | ReadonlyArray<string> | undefined
  /** The port that was dialled. */
  readonly port?: number | undefined
  readonly kind?: Packet["kind"] | undefined
  readonly connection?: number | undefined
  /** Whether it goes from the side that dialled to the side that listens. */
  readonly toServer?: boolean | undefined
}

const ruleOf = (rule: NetworkRule | Verdict): NetworkRule => typeof rule === "function" ? rule : () => rule

const nameIn = (hosts: string | ReadonlyArray<string> | undefined): (name: string) => boolean => {
  if (hosts === undefined) return () => true
  const names = new Set((typeof hosts === "string" ? [hosts] : hosts).map(normalize))
  return (name) => names.has(name)
}

/**
 * A rule for some packets only.
 *
 * @category combinators
 * @since 0.1.0
 */
export const when = (filter: PacketFilter, rule: NetworkRule | Verdict): NetworkRule => {
  const [isFrom, isTo, then] = [nameIn(filter.from), nameIn(filter.to), ruleOf(rule)]
  const is = <A>(wanted: A | undefined, value: A) => wanted === undefined || wanted === value
  return (packet, random) =>
    is(filter.port, packet.port) && is(filter.kind, packet.kind) && is(filter.connection, packet.connection)
      && is(filter.toServer, packet.toServer) && isFrom(packet.from) && isTo(packet.to)
      ? then(packet, random)
      : undefined
}

/**
 * A rule for a part of the packets, from 0 (none) to 1 (all), chosen by the network's seed.
 *
 * @category combinators
 * @since 0.1.0
 */
export const chance = (probability: number, rule: NetworkRule | Verdict): NetworkRule => {
  const then = ruleOf(rule)
  return (packet, random) => random() < probability ? then(packet, random) : undefined
}

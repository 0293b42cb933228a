import type * as Duration from "effect/Duration"

/**
 * Something that is about to arrive: the request for a connection (`connect`), the answer to it (`accept`), bytes, the end
 * of the stream, or a reset.
 */
export interface Packet {
  readonly kind: "connect" | "accept" | "data" | "end" | "reset"
  /** The host that sent it. */
  readonly from: string
  /** The host that it is for. */
  readonly to: string
  /** The port that was dialled; 0 for a unix socket. */
  readonly port: number
  /** The number of the connection, as in `connections` and `events`. */
  readonly connection: number
  /** Whether it goes from the side that dialled to the side that listens. */
  readonly toServer: boolean
  /** How many bytes have arrived in this direction before it. */
  readonly offset: number
  /** How many bytes it has. */
  readonly size: number
}

/** What becomes of a packet. */
export type Verdict =
  | { readonly _tag: "Pass" }
  | { readonly _tag: "Drop" }
  | { readonly _tag: "Hold" }
  | { readonly _tag: "Delay"; readonly by: Duration.Input }
  | { readonly _tag: "Refuse" }
  | { readonly _tag: "Reset"; readonly after: number }
  | { readonly _tag: "End"; readonly after: number }
  | { readonly _tag: "Corrupt"; readonly at: number | undefined }

/** Says what becomes of a packet, or leaves it to the next rule. */
export type NetworkRule = (packet: Packet, random: () => number) => Verdict | undefined

/** The rules that are in force, asked in the order in which they came. */
export class Rules {
  private readonly rules = new Set<NetworkRule>()
  /** What a rule has thrown. */
  fault: { readonly cause: unknown } | undefined

  private readonly random: () => number
  constructor(random: () => number) {
    this.random = random
  }

  get isEmpty(): boolean {
    return this.rules.size === 0
  }

  /** A rule that is there twice counts twice. */
  add(rule: NetworkRule): () => void {
    const own: NetworkRule = (packet, random) => rule(packet, random)
    this.rules.add(own)
    return () => void this.rules.delete(own)
  }

  judge(packet: Packet): Verdict | undefined {
    // called from the event loop, where what is thrown ends the process
    try {
      for (const rule of this.rules) {
        const verdict = rule(packet, this.random)
        if (verdict !== undefined) return verdict
      }
    } catch (cause) {
      this.fault ??= { cause }
    }
    return undefined
  }
}

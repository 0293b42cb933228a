/** Connections that are cut at one place, for suites that try all of them. */
import * as NetworkRule from "../../src/testing/NetworkRule.ts"

/** What happens there: the connection breaks, ends, falls silent, or a bit is turned over. */
export type CutKind = "reset" | "end" | "silent" | "corrupt"

const ruleAt: Readonly<Record<CutKind, (offset: number) => NetworkRule.NetworkRule>> = {
  reset: NetworkRule.resetAt,
  end: NetworkRule.endAt,
  silent: NetworkRule.silentAt,
  corrupt: NetworkRule.corruptAt
}

/** A rule that cuts each connection after so many bytes of a direction, and whether one has come so far. */
export const cutting = (kind: CutKind, toServer: boolean, offset: number) => {
  const rule = NetworkRule.when({ toServer }, ruleAt[kind](offset))
  let happened = false
  const noting: NetworkRule.NetworkRule = (packet, random) => {
    const verdict = rule(packet, random)
    happened ||= verdict !== undefined
    return verdict
  }
  return { rule: noting, happened: () => happened }
}

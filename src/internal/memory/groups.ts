import type { NetworkRule, Verdict } from "./rules.ts"

/** One host, or several. */
export type HostNames = string | ReadonlyArray<string>

/** Whether something goes from one host to another. */
export type Crosses = (from: string, to: string) => boolean

/**
 * Whether something goes from one group of hosts to the other, either way; without the other: to any that is not of the
 * first. `nameOf` gives the name of the host that is meant.
 */
export const between = (a: HostNames, b: HostNames | undefined, nameOf: (host: string) => string): Crosses => {
  const setOf = (hosts: HostNames) => new Set((typeof hosts === "string" ? [hosts] : hosts).map(nameOf))
  const one = setOf(a)
  const other = b === undefined ? undefined : setOf(b)
  const leads = (from: string, to: string) => one.has(from) && (other === undefined ? !one.has(to) : other.has(to))
  return (from, to) => leads(from, to) || leads(to, from)
}

interface Separation {
  readonly rule: NetworkRule
  /** Whom it lets through again. */
  readonly exempt: Array<Crosses>
}

/** What separates groups of hosts, all by the same verdict, until it is taken away, or taken back for some of them. */
export class Separations {
  private readonly all = new Set<Separation>()

  private readonly verdict: Verdict
  constructor(verdict: Verdict) {
    this.verdict = verdict
  }

  /** Separates two groups and gives the rule that does, and what ends it. */
  add(crosses: Crosses): readonly [rule: NetworkRule, remove: () => void] {
    const exempt: Array<Crosses> = []
    const rule: NetworkRule = ({ from, to }) =>
      crosses(from, to) && !exempt.some((open) => open(from, to)) ? this.verdict : undefined
    const separation = { rule, exempt }
    this.all.add(separation)
    return [rule, () => void this.all.delete(separation)]
  }

  /** Lets some through again. */
  open(crosses: Crosses): void {
    for (const { exempt } of this.all) exempt.push(crosses)
  }
}

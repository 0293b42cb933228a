import { normalize } from "./hosts.ts"
import type { NetworkRule, Verdict } from "./rules.ts"

/** One host, or several. */
export type HostNames = string | ReadonlyArray<string>

/** Whether a packet goes from a host of one group to one of the other; without the other: to any that is not of the first. */
type Crosses = (from: string, to: string) => boolean

const setOf = (hosts: HostNames) => new Set((typeof hosts === "string" ? [hosts] : hosts).map(normalize))

/** Whether something goes from one group of hosts to the other, either way. */
export const between = (a: HostNames, b: HostNames | undefined): Crosses => {
  const one = setOf(a)
  const other = b === undefined ? undefined : setOf(b)
  const leads = (from: string, to: string) => one.has(from) && (other === undefined ? !one.has(to) : other.has(to))
  return (from, to) => leads(from, to) || leads(to, from)
}

/** What separates two groups of hosts until it is taken away, or taken back for some of them. */
export class Separation {
  private readonly exempt: Array<Crosses> = []

  private readonly crosses: Crosses
  private readonly verdict: Verdict
  constructor(crosses: Crosses, verdict: Verdict) {
    this.crosses = crosses
    this.verdict = verdict
  }

  /** Lets some through again. */
  open(crosses: Crosses): void {
    this.exempt.push(crosses)
  }

  readonly rule: NetworkRule = ({ from, to }) =>
    this.crosses(from, to) && !this.exempt.some((crosses) => crosses(from, to)) ? this.verdict : undefined
}

import type { Crosses } from "./groups.ts"
import { type Link, linkOf, type LinkOptions } from "./link.ts"

/** An option that is not given says nothing. */
const given = (options: LinkOptions): LinkOptions =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))

/** How each host's connections to each other host behave. */
export class Links {
  private readonly overrides = new Set<{ readonly crosses: Crosses; readonly options: LinkOptions }>()
  private readonly understood = new Map<string, Link>()

  private readonly defaults: LinkOptions
  constructor(defaults: LinkOptions) {
    this.defaults = given(defaults)
  }

  /** Has options count for some, in place of those that were set before; gives what takes them back. */
  set(crosses: Crosses, options: LinkOptions): () => void {
    const override = { crosses, options: given(options) }
    this.overrides.add(override)
    this.understood.clear()
    return () => {
      this.overrides.delete(override)
      this.understood.clear()
    }
  }

  between(from: string, to: string): Link {
    const key = `${from} ${to}`
    let link = this.understood.get(key)
    if (link === undefined) {
      const options = { ...this.defaults }
      for (const override of this.overrides) if (override.crosses(from, to)) Object.assign(options, override.options)
      link = linkOf(options)
      this.understood.set(key, link)
    }
    return link
  }
}

/** Something that is to be done at a time. */
export interface Due<A> {
  readonly due: number
  readonly what: A
}

interface Entry<A> extends Due<A> {
  /** Tells entries of the same time apart: the first that was added comes first. */
  readonly order: number
  /** Where it is in the heap; -1 once it is gone. */
  index: number
}

const isBefore = (a: Entry<unknown>, b: Entry<unknown>) => a.due < b.due || (a.due === b.due && a.order < b.order)

/** What is due when: a binary heap in which anything can be taken back. */
export class Agenda<A> {
  private readonly heap: Array<Entry<A>> = []
  private added = 0

  /** What is due first. */
  get first(): Due<A> | undefined {
    return this.heap[0]
  }

  /** Gives what takes it back, which does nothing once it is gone. */
  add(due: number, what: A): () => void {
    const entry = { due, what, order: this.added++, index: this.heap.length }
    this.rise(entry, entry.index)
    return () => this.remove(entry)
  }

  /** Takes what is due first, where that is at `now` or before. */
  take(now: number): Due<A> | undefined {
    const first = this.heap[0]
    if (first === undefined || first.due > now) return undefined
    this.remove(first)
    return first
  }

  clear(): void {
    for (const entry of this.heap.splice(0)) entry.index = -1
  }

  private remove(entry: Entry<A>): void {
    const { index } = entry
    if (index === -1) return
    entry.index = -1
    const last = this.heap.pop()
    if (last === undefined || last === entry) return
    this.sink(last, index)
    this.rise(last, last.index)
  }

  private rise(entry: Entry<A>, from: number): void {
    let index = from
    while (index > 0) {
      const parent = this.heap[(index - 1) >> 1]
      if (parent === undefined || isBefore(parent, entry)) break
      this.place(parent, index)
      index = (index - 1) >> 1
    }
    this.place(entry, index)
  }

  private sink(entry: Entry<A>, from: number): void {
    let index = from
    for (;;) {
      const left = this.heap[2 * index + 1]
      const right = this.heap[2 * index + 2]
      const child = left !== undefined && right !== undefined && isBefore(right, left) ? right : left
      if (child === undefined || isBefore(entry, child)) break
      const next = child.index
      this.place(child, index)
      index = next
    }
    this.place(entry, index)
  }

  private place(entry: Entry<A>, index: number): void {
    this.heap[index] = entry
    entry.index = index
  }
}

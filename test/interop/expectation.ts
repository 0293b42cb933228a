/** Whether requests are compressed when they say they are: no server tells its handlers, so the bytes are counted. */
import { type Expecting, sizeOf } from "./server.ts"
import { carries, type Wire } from "./wire.ts"

/** For a server whose calls come one at a time. */
export const expectations = (wire: Wire) => {
  let before = 0
  return {
    /** To be called when a call is over: what comes from now on belongs to the next. */
    next: (): void => {
      before = wire.received()
    },
    /** Whether what has come since is what these requests are. To be asked when all have come. */
    met: (requests: ReadonlyArray<Expecting>): boolean => {
      const expecting = requests.filter(({ expectCompressed }) => (expectCompressed ?? undefined) !== undefined)
      const size = expecting.reduce(
        (sum, request) => sum + (request.expectCompressed?.value === true ? 0 : sizeOf(request)),
        0
      )
      return expecting.length === 0 || carries(wire.received() - before, size)
    }
  }
}

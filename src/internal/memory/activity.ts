import * as Effect from "effect/Effect"

/** Turns of the event loop that only watch what the others do, in the whole process. */
let watching = 0

/**
 * Whether the event loop has something to do: a turn that is not for watching (a fiber that has only yielded runs in one),
 * or a file that is being read. What other threads do besides that cannot be seen (zlib, the making of keys).
 */
const isLoopBusy = () => {
  let turns = 0
  for (const kind of process.getActiveResourcesInfo()) {
    if (kind === "Immediate") turns++
    else if (kind.startsWith("FSReq")) return true
  }
  return turns > watching
}

/** So many turns, some 100 ms, are given to what keeps the event loop busy without end: a fiber that polls, a read of a pipe. */
const maxBusyTurns = 20_000

/**
 * Whether anything moves on the network and in the programs that use it. Time may go on only when nothing does, so that
 * what takes no time takes none, however many turns of the event loop it needs.
 */
export class Activity {
  /** How often something has moved so far. */
  count = 0

  private readonly quietTurns: number
  constructor(options: { readonly quietTurns?: number | undefined } = {}) {
    this.quietTurns = options.quietTurns ?? 16
  }

  /** Something moved: a dial, an accept, a write, a delivery, a read. */
  note(): void {
    this.count++
  }

  /** Waits until so many turns of the event loop in a row went by without anything that moved. */
  readonly settled: Effect.Effect<void> = Effect.suspend(() => {
    let quiet = 0
    let busy = 0
    return Effect.asVoid(this.watch((moved, isBusy) => {
      busy = isBusy ? busy + 1 : 0
      quiet = moved || (isBusy && busy < maxBusyTurns) ? 0 : quiet + 1
      return quiet >= this.quietTurns ? true : undefined
    }))
  })

  /** Waits until something moves or `isDone`, for so many milliseconds of real time at most. Whether it came to that. */
  stirs(isDone: () => boolean, patience: number): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      const end = performance.now() + patience
      return this.watch((moved, isBusy) => moved || isBusy || isDone() || (performance.now() < end ? undefined : false))
    })
  }

  /** Looks in one turn of the event loop after the other whether something moved since the last, until there is an answer. */
  private watch(look: (moved: boolean, isBusy: boolean) => boolean | undefined): Effect.Effect<boolean> {
    return Effect.callback((resume) => {
      let seen = this.count
      const watchTurn = () => {
        watching++
        turn = setImmediate(() => {
          watching--
          const moved = this.count !== seen
          seen = this.count
          const answer = look(moved, !moved && isLoopBusy())
          if (answer === undefined) watchTurn()
          else resume(Effect.succeed(answer))
        })
      }
      let turn: NodeJS.Immediate
      watchTurn()
      return Effect.sync(() => {
        watching--
        clearImmediate(turn)
      })
    })
  }
}

import * as Effect from "effect/Effect"

/** Turns of the event loop that only watch what the others do, in the whole process. */
let watching = 0

/**
 * What the event loop still has to do: files that are being read, and turns that are not for watching (a fiber that has only
 * yielded runs in one). What other threads do besides cannot be seen (zlib, the making of keys).
 */
const loop = (): "files" | "turns" | "nothing" => {
  let turns = 0
  for (const kind of process.getActiveResourcesInfo()) {
    if (kind === "Immediate") turns++
    else if (kind.startsWith("FSReq") || kind === "CloseReq") return "files"
  }
  return turns > watching ? "turns" : "nothing"
}

/**
 * So many turns in a row are waited for it, as it may never end: a fiber that polls gets some 100 ms, a file, which may be a
 * pipe, some seconds.
 */
const maxTurns = { files: 1_000_000, turns: 20_000, nothing: 0 }

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
    return Effect.asVoid(this.watch((moved) => {
      const doing = moved ? "nothing" : loop()
      busy = doing === "nothing" ? 0 : busy + 1
      quiet = moved || busy < maxTurns[doing] ? 0 : quiet + 1
      return quiet >= this.quietTurns ? true : undefined
    }))
  })

  /** Waits until something moves or `isDone`, for so many milliseconds of real time at most. Whether it came to that. */
  stirs(isDone: () => boolean, patience: number): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      const end = performance.now() + patience
      return this.watch((moved) =>
        moved || loop() !== "nothing" || isDone() || (performance.now() < end ? undefined : false)
      )
    })
  }

  /** Looks in one turn of the event loop after the other whether something moved since the last, until there is an answer. */
  private watch(look: (moved: boolean) => boolean | undefined): Effect.Effect<boolean> {
    return Effect.callback((resume) => {
      let seen = this.count
      const watchTurn = () => {
        watching++
        turn = setImmediate(() => {
          watching--
          const moved = this.count !== seen
          seen = this.count
          const answer = look(moved)
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

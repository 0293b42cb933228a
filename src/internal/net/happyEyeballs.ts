/**
 * Happy Eyeballs v2 (RFC 8305): of the addresses of a name the first that connects, without waiting long for those that
 * do not, nor for the slower half of the answer to "what are its addresses?".
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import type { DialErrorReason, NameNotFound } from "../../errors/DialError.ts"
import { type Lookup, mostHopeful, type Resolved } from "./resolve.ts"

export interface Options<A> {
  /** The questions, all asked at once. The answer of the first one is worth waiting for. */
  readonly lookups: ReadonlyArray<Lookup>
  readonly connect: (address: Resolved) => Effect.Effect<A, DialErrorReason>
  /** Closes a connection that came too late. */
  readonly discard: (connection: A) => void
  /** How long an attempt goes on alone. */
  readonly attemptDelay: Duration.Duration
  /** How long the other answers wait for the first question's. */
  readonly resolutionDelay: Duration.Duration
}

type Event<A> =
  | { readonly _tag: "Answered"; readonly question: number; readonly addresses: ReadonlyArray<Resolved> }
  | { readonly _tag: "NotFound"; readonly reason: NameNotFound }
  | { readonly _tag: "WaitedForAnswer" }
  | { readonly _tag: "Connected"; readonly connection: A }
  | { readonly _tag: "Failed"; readonly attempt: number; readonly reason: DialErrorReason }
  | { readonly _tag: "HeadStartOver"; readonly attempt: number }

const familyOf = ({ host }: Resolved) => host.includes(":") ? 6 : 4

/** Addresses that have not been tried: handed out in their order, but with the families alternating (section 4). */
class Untried {
  private readonly addresses: Array<Resolved> = []
  private last: 4 | 6 | undefined

  get isEmpty() {
    return this.addresses.length === 0
  }
  add(addresses: ReadonlyArray<Resolved>, preferred: boolean) {
    if (preferred) this.addresses.unshift(...addresses)
    else this.addresses.push(...addresses)
  }
  next(): Resolved | undefined {
    const other = this.addresses.findIndex((address) => familyOf(address) !== this.last)
    const [address] = this.addresses.splice(Math.max(0, other), 1)
    if (address !== undefined) this.last = familyOf(address)
    return address
  }
}

/**
 * The first connection. Each attempt starts when the one before it has failed, or beside it after a delay (section 5);
 * attempts begin with the preferred answer, or with another one that has waited for it (section 3), and addresses that
 * come later join. Fails with what the first attempt to fail said, or with why there is no address.
 */
export const connectFirst = <A>(options: Options<A>): Effect.Effect<A, DialErrorReason> =>
  Effect.suspend(() => {
    const connected = new Set<A>()
    return Effect.onExit(
      Effect.scoped(race(options, connected)),
      (exit) =>
        Effect.sync(() => {
          for (const connection of connected) {
            if (Exit.isFailure(exit) || exit.value !== connection) options.discard(connection)
          }
        })
    )
  })

const race = Effect.fnUntraced(function*<A>(
  { attemptDelay, connect, lookups, resolutionDelay }: Options<A>,
  connected: Set<A>
) {
  const events = yield* Queue.unbounded<Event<A>>()
  const happens = (event: Event<A>) => Effect.sync(() => void Queue.offerUnsafe(events, event))
  const begin = <E>(work: Effect.Effect<unknown, E>) => Effect.forkScoped(work, { startImmediately: true })

  for (const [question, lookup] of lookups.entries()) {
    yield* begin(Effect.matchEffect(lookup, {
      onSuccess: (addresses) => happens({ _tag: "Answered", question, addresses }),
      onFailure: (reason) => happens({ _tag: "NotFound", reason })
    }))
  }

  const untried = new Untried()
  const unanswered: Array<NameNotFound> = []
  let questions = lookups.length
  let failure: DialErrorReason | undefined
  let attempts = 0
  let running = 0
  /** Whether the next attempt may start. */
  let turn = false

  const attempt = Effect.fnUntraced(function*(address: Resolved) {
    turn = false
    running++
    const number = ++attempts
    yield* begin(
      Effect.uninterruptibleMask((restore) =>
        Effect.matchEffect(restore(connect(address)), {
          onSuccess: (connection) => {
            connected.add(connection)
            return happens({ _tag: "Connected", connection })
          },
          onFailure: (reason) => happens({ _tag: "Failed", attempt: number, reason })
        })
      )
    )
    yield* begin(Effect.andThen(Effect.sleep(attemptDelay), happens({ _tag: "HeadStartOver", attempt: number })))
  })

  for (;;) {
    const address = turn ? untried.next() : undefined
    if (address !== undefined) yield* attempt(address)
    else if (questions === 0 && running === 0 && untried.isEmpty) {
      return yield* failure ?? mostHopeful(unanswered)!
    }
    const event = yield* Queue.take(events)
    switch (event._tag) {
      case "Answered": {
        questions--
        untried.add(event.addresses, event.question === 0)
        if (attempts > 0) break
        if (event.question === 0 || questions === 0) turn = true
        else yield* begin(Effect.andThen(Effect.sleep(resolutionDelay), happens({ _tag: "WaitedForAnswer" })))
        break
      }
      case "NotFound": {
        questions--
        unanswered.push(event.reason)
        // there is nothing to wait for: what is there may start
        if (attempts === 0) turn = questions === 0 || !untried.isEmpty
        break
      }
      case "WaitedForAnswer": {
        if (attempts === 0) turn = true
        break
      }
      case "Connected":
        return event.connection
      case "Failed": {
        running--
        failure ??= event.reason
        if (event.attempt === attempts) turn = true
        break
      }
      case "HeadStartOver": {
        if (event.attempt === attempts) turn = true
      }
    }
  }
})

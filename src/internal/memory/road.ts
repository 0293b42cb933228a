import * as Duration from "effect/Duration"
import { type Link, linkOf, type LinkOptions } from "./link.ts"
import type { Packet, Verdict } from "./rules.ts"
import type { Timeline } from "./timeline.ts"

/** What is sent: of a packet all that its road does not know. */
export type Sent = Pick<Packet, "kind" | "offset" | "size">

/** The way from one end of a connection to the other, as it is now. */
export interface Road {
  readonly timeline: Pick<Timeline, "at" | "now" | "soon">
  readonly random: () => number
  readonly link: Link
  /** What is sent arrives at once, whatever it is. */
  readonly isClear: boolean
  /** Nobody is there, where it leads: everything is lost. */
  readonly isDown: boolean
  /** Who sent has crashed since: nobody sends again what was lost. */
  readonly isOrphaned: boolean
  readonly judge: (sent: Sent) => Verdict | undefined
  /** Calls back when another verdict is possible, until what it gives is called. */
  readonly whenChanged: (changed: () => void) => () => void
  readonly happened: (
    what: "send" | "receive" | "end" | "reset" | "drop" | "hold" | "delay" | "corrupt" | "timeout",
    bytes?: number
  ) => void
}

/** A verdict after which a packet is no longer under way. */
export type Outcome = Exclude<Verdict, { readonly _tag: "Delay" | "Drop" | "Hold" }>

/** How long a sender goes on, in milliseconds: first pause, longest pause, and when it gives up. */
export interface Persistence {
  readonly first: number
  readonly longest: number
  readonly total: number
}

const pass: Outcome = { _tag: "Pass" }
const drop: Verdict = { _tag: "Drop" }

/**
 * Takes a packet over a road: it is judged when it is due. What is dropped is sent again as TCP does, with pauses that
 * double, and at once when the rules have changed; what is held waits for that. Gives what stops it.
 *
 * Who has crashed sends nothing again, except resets: those answer what others send again.
 */
export const cross = (
  road: Road,
  sent: Sent,
  due: number,
  persistence: Persistence,
  arrived: (outcome: Outcome) => void,
  lost: () => void
): () => void => {
  const { timeline } = road
  let pause = persistence.first
  let firstDrop: number | undefined
  let stop: () => void
  const isOrphaned = () => road.isOrphaned && sent.kind !== "reset"
  const judge = () => road.judge(sent) ?? pass
  const sendAgain = () => isOrphaned() ? lost() : arrive()
  const arrive = (judged = judge) => {
    const verdict = road.isDown ? drop : judged()
    switch (verdict._tag) {
      case "Drop": {
        const now = timeline.now()
        firstDrop ??= now
        road.happened("drop", sent.size)
        if (isOrphaned()) return lost()
        if (now - firstDrop >= persistence.total) {
          road.happened("timeout")
          return lost()
        }
        const stopTimer = timeline.at(now + pause, () => {
          stopWaiting()
          sendAgain()
        })
        pause = Math.min(2 * pause, persistence.longest)
        const stopWaiting = road.whenChanged(() => {
          stopTimer()
          sendAgain()
        })
        stop = () => {
          stopTimer()
          stopWaiting()
        }
        return
      }
      case "Hold": {
        road.happened("hold", sent.size)
        stop = road.whenChanged(() => arrive())
        return
      }
      case "Delay": {
        road.happened("delay", sent.size)
        stop = timeline.at(timeline.now() + Duration.toMillis(verdict.by), () => arrive(() => pass))
        return
      }
      default:
        arrived(verdict)
    }
  }
  stop = timeline.at(due, () => arrive())
  return () => stop()
}

const nothing = () => {}

/** A road between the two ends of a connection that is on no network. */
export const roadWithout = (options: LinkOptions): Road => ({
  timeline: {
    now: () => 0,
    soon: (run) => void setImmediate(run),
    at: (_due, run) => {
      const immediate = setImmediate(run)
      return () => clearImmediate(immediate)
    }
  },
  random: Math.random,
  link: linkOf(options),
  isClear: true,
  isDown: false,
  isOrphaned: false,
  judge: () => undefined,
  whenChanged: () => nothing,
  happened: nothing
})

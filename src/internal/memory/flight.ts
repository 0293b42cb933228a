import { fullSegment } from "./link.ts"
import { Ring } from "./ring.ts"
import { cross, type Outcome, type Persistence, type Road, type Sent } from "./road.ts"

/** One end of a connection, as what is under way sees it. */
export interface End {
  readonly destroyed: boolean
  /** Its system knows nothing of the connection any more: whatever still comes for it is answered by a reset. */
  readonly isForgotten: boolean
  /** There is something new to read, or the end of it. */
  readonly onArrival: () => void
  /** The connection is broken. */
  readonly onReset: () => void
  /** The peer has not been heard of for too long. */
  readonly onTimeout: () => void
  /** There is room again for what this end has to send. */
  readonly onRoom: () => void
}

type Kind = Exclude<Sent["kind"], "connect" | "accept">

interface Segment {
  readonly kind: Kind
  readonly size: number
  readonly due: number
}

/** As Linux has it: 200 ms at first, at most two minutes, and about a quarter of an hour in all. */
const retransmission: Persistence = { first: 200, longest: 120_000, total: 924_600 }

/**
 * One direction of a connection: bytes in the order in which they were sent, then the end of the stream or a reset. All of
 * them are in the ring; the first `arrived` of them can be read, the others are under way.
 */
export class Flight {
  /** How many bytes can be read. */
  arrived = 0
  /** The end has arrived: nothing comes behind what can be read. */
  ended = false

  private readonly ring: Ring
  private underway: Array<Segment> = []
  /** Stops the foremost one. */
  private stopCrossing: (() => void) | undefined
  private gathered = 0
  private stopGathering: (() => void) | undefined
  /** When the last byte leaves, where the road takes only so many a second. */
  private busyUntil = 0
  private lastDue = 0
  private passed = 0
  /** Somebody on the way has ended the stream: what is sent goes nowhere. */
  private cut = false
  /** Where writes that are kept apart begin and end, counted as `passed` is. */
  private readonly boundaries: Array<number> = []
  /** The end has been sent. */
  private finished = false

  private readonly road: Road
  private readonly sender: End
  private readonly receiver: End
  private readonly back: () => Flight
  /** `back` is the other direction. */
  constructor(road: Road, sender: End, receiver: End, back: () => Flight) {
    this.road = road
    this.sender = sender
    this.receiver = receiver
    this.back = back
    this.ring = new Ring(road.link.bufferSize)
  }

  /** Takes as much as there is room for and gives back the rest. */
  send(chunk: Buffer): Buffer {
    if (this.cut) {
      this.back().signal("reset")
      return chunk.subarray(chunk.length)
    }
    const rest = this.ring.put(chunk)
    const size = chunk.length - rest.length
    if (size === 0) return rest
    this.road.happened("send", size)
    this.gather(size)
    return rest
  }

  /** Sends the end of the stream, or a reset, behind everything else. */
  signal(kind: "end" | "reset"): void {
    if (kind === "end") {
      if (this.finished) return
      this.finished = true
    }
    this.depart()
    this.launch(kind, 0)
  }

  /** The next bytes that are delivered together. */
  take(): Buffer {
    const { link, random } = this.road
    const most = Math.min(link.fragment(random), link.readPiece, this.untilBoundary(), this.arrived)
    this.arrived -= most
    const piece = this.ring.take(most)
    this.road.happened("receive", most)
    this.sender.onRoom()
    return piece
  }

  /** Forgets what is under way; what has arrived can still be read. */
  drop(): void {
    this.dropGathered()
    this.stopCrossing?.()
    this.stopCrossing = undefined
    this.underway = []
    this.ring.keep(this.arrived)
  }

  /** The sender is gone and sends nothing again. Who has ended the connection on the way still tells the receiver. */
  orphan(): void {
    if (!this.cut) this.drop()
  }

  /** Forgets what has arrived, and so much more, as nobody will read it. The sender goes on, as one who probes a closed window. */
  discard(more = 0): void {
    this.ring.skip(this.arrived + more)
    this.arrived = 0
    this.sender.onRoom()
  }

  /** Forgets what has not left yet. */
  dropGathered(): void {
    this.stopGathering?.()
    this.stopGathering = undefined
    this.ring.keep(this.ring.size - this.gathered)
    this.gathered = 0
  }

  private untilBoundary(): number {
    const taken = this.passed - this.arrived
    while (this.boundaries[0] !== undefined && this.boundaries[0] <= taken) this.boundaries.shift()
    return (this.boundaries[0] ?? Infinity) - taken
  }

  private gather(size: number): void {
    this.gathered += size
    const { link, timeline } = this.road
    if (link.coalesce === 0 || this.gathered >= fullSegment) this.depart()
    else this.stopGathering ??= timeline.at(timeline.now() + link.coalesce, () => this.depart())
  }

  private depart(): void {
    this.stopGathering?.()
    this.stopGathering = undefined
    const size = this.gathered
    this.gathered = 0
    if (size > 0) this.launch("data", size)
  }

  private launch(kind: Kind, size: number): void {
    if (this.road.isClear && this.underway.length === 0) return this.land(kind, size)
    const { segment } = this.road.link
    for (let left = size; left > segment; left -= segment) this.enqueue(kind, segment)
    this.enqueue(kind, size === 0 ? 0 : (size - 1) % segment + 1)
  }

  private enqueue(kind: Kind, size: number): void {
    const { link, random, timeline } = this.road
    this.busyUntil = Math.max(this.busyUntil, timeline.now()) + size / link.bandwidth * 1000
    // nothing overtakes what was sent before it
    this.lastDue = Math.max(this.lastDue, this.busyUntil + link.latency(random))
    this.underway.push({ kind, size, due: this.lastDue })
    if (this.underway.length === 1) this.crossNext()
  }

  private crossNext(): void {
    const [next] = this.underway
    if (next === undefined) return
    const { due, kind, size } = next
    this.stopCrossing = cross(
      this.road,
      { kind, offset: this.passed, size },
      due,
      retransmission,
      (outcome) => {
        this.stopCrossing = undefined
        this.underway.shift()
        this.comeOut(kind, size, outcome)
        if (this.stopCrossing === undefined) this.crossNext()
      },
      () => {
        this.drop()
        if (!this.sender.destroyed) this.sender.onTimeout()
      }
    )
  }

  private comeOut(kind: Kind, size: number, outcome: Outcome): void {
    switch (outcome._tag) {
      case "Corrupt": {
        if (kind === "data") {
          this.ring.corrupt(this.arrived + Math.min(size - 1, outcome.at ?? Math.floor(this.road.random() * size)))
          this.road.happened("corrupt", 1)
        }
        return this.land(kind, size)
      }
      case "End":
        return this.end(kind, Math.min(outcome.after, size))
      case "Refuse":
        return this.sever(kind, 0)
      case "Reset":
        return this.sever(kind, Math.min(outcome.after, size))
      case "Pass":
        return this.land(kind, size)
    }
  }

  private land(kind: Kind, size: number): void {
    if (this.receiver.destroyed) return this.bounce(kind, size)
    if (kind === "reset") return this.receiver.onReset()
    if (this.road.link.keepsWritesApart) this.boundaries.push(this.passed, this.passed + size)
    this.passed += size
    this.arrived += size
    if (kind === "end") {
      this.ended = true
      this.road.happened("end")
    }
    this.receiver.onArrival()
  }

  /** Bytes for an end that is closed are answered by a reset; the end of the stream only where nobody expects it. */
  private bounce(kind: Kind, size: number): void {
    if (kind === "reset" || (kind === "end" && !this.receiver.isForgotten)) return
    this.back().signal("reset")
    this.discard(size)
  }

  /** Breaks the connection for both ends after `count` more bytes. */
  private sever(kind: Kind, count: number): void {
    if (count > 0) this.land(kind, count)
    this.receiver.onReset()
    this.sender.onReset()
  }

  /** Ends the stream for both ends after `count` more bytes, as somebody on the way does who closes the connection. */
  private end(kind: Kind, count: number): void {
    if (count > 0) this.land(kind, count)
    this.drop()
    this.cut = true
    this.finished = true
    this.land("end", 0)
    const back = this.back()
    back.signal("end")
    back.cut = true
    this.sender.onRoom()
  }
}

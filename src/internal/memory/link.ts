import * as Duration from "effect/Duration"

/** A number, or any between two. */
export type Range<A> = { readonly min: A; readonly max: A }

/** How the connections of a link behave, each direction by itself. */
export interface LinkOptions {
  /**
   * How long what is sent takes to arrive, one way: always the same, evenly between two times, spread around a mean
   * (normal distribution), or as a function of a random number generator says. Nothing ever overtakes what was sent before
   * it on its connection. Default: none.
   */
  readonly latency?:
    | Duration.Input
    | Range<Duration.Input>
    | { readonly mean: Duration.Input; readonly deviation: Duration.Input }
    | ((random: () => number) => Duration.Input)
    | undefined
  /** How many bytes a second go through, for each connection and direction by itself. Default: no limit. */
  readonly bandwidth?: number | undefined
  /**
   * The most bytes that arrive in one piece, each in a turn of the event loop of its own; 1 is byte by byte, a range is a new
   * random size for each piece. Default 65536, as a socket reads.
   */
  readonly fragment?: number | Range<number> | undefined
  /**
   * How long small writes wait for more to be sent together with (as Nagle's algorithm has them do); `false` keeps writes
   * apart, so that no two ever arrive in one piece. Default 0: sent at once, and what is there arrives together.
   */
  readonly coalesce?: Duration.Input | false | undefined
  /**
   * How many bytes each direction of a connection holds, under way or unread, before its writer has to wait. Default 4 MiB,
   * about what Linux gives. Two HTTP/2 ends stop for ever when it is smaller than their flow-control window (64 KiB unless
   * set).
   */
  readonly bufferSize?: number | undefined
  /**
   * How many bytes a second the receiving end takes, however fast its program reads. What a reset leaves unread is taken at
   * once. Default: no limit.
   */
  readonly readRate?: number | undefined
}

/** The same, understood. Times are in milliseconds. */
export interface Link {
  readonly latency: (random: () => number) => number
  readonly bandwidth: number
  readonly fragment: (random: () => number) => number
  readonly coalesce: number
  readonly keepsWritesApart: boolean
  readonly bufferSize: number
  readonly readRate: number
  /** The most bytes that a slow receiver takes at once. */
  readonly readPiece: number
  /** The most bytes that are under way together, unless they arrive at once. */
  readonly segment: number
  /** What is sent arrives at once. */
  readonly isImmediate: boolean
}

/** So many bytes fill a packet of Ethernet. */
export const fullSegment = 1460

const largestSegment = 16 * 1024

/** What comes of a rate in a tenth of a second: slow links and readers are slow all the time, not now and then. */
const tenth = (rate: number) => atLeastOne(rate / 10)

const atLeastOne = (bytes: number) => Math.max(1, Math.floor(bytes))

const millis = (input: Duration.Input) => Math.max(0, Duration.toMillis(input))

/** A normally distributed number (Box and Muller). */
const normal = (random: () => number) => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())

const latencyOf = (latency: LinkOptions["latency"]): Link["latency"] | undefined => {
  if (latency === undefined) return undefined
  if (typeof latency === "function") return (random) => millis(latency(random))
  if (typeof latency === "object" && "mean" in latency) {
    const [mean, deviation] = [millis(latency.mean), millis(latency.deviation)]
    return (random) => Math.max(0, mean + deviation * normal(random))
  }
  if (typeof latency === "object" && "min" in latency) {
    const [min, max] = [millis(latency.min), millis(latency.max)]
    return (random) => min + (max - min) * random()
  }
  const fixed = millis(latency)
  return fixed === 0 ? undefined : () => fixed
}

const fragmentOf = (fragment: number | Range<number> = 64 * 1024): Link["fragment"] => {
  if (typeof fragment === "number") {
    const size = atLeastOne(fragment)
    return () => size
  }
  const [min, max] = [atLeastOne(fragment.min), atLeastOne(fragment.max)]
  return (random) => min + Math.floor((max - min + 1) * random())
}

const noLatency = () => 0

/** Understands a link's options; what has no sense (a negative rate) is taken as the nearest thing that has. */
export const linkOf = (options: LinkOptions): Link => {
  const latency = latencyOf(options.latency)
  const bandwidth = options.bandwidth === undefined ? Infinity : Math.max(1e-3, options.bandwidth)
  const readRate = options.readRate === undefined ? Infinity : Math.max(1e-3, options.readRate)
  const coalesce = options.coalesce === undefined || options.coalesce === false ? 0 : millis(options.coalesce)
  return {
    latency: latency ?? noLatency,
    bandwidth,
    fragment: fragmentOf(options.fragment),
    coalesce,
    keepsWritesApart: options.coalesce === false,
    bufferSize: atLeastOne(options.bufferSize ?? 4 * 1024 * 1024),
    readRate,
    readPiece: tenth(readRate),
    segment: Math.min(largestSegment, Math.max(fullSegment, tenth(bandwidth))),
    isImmediate: latency === undefined && bandwidth === Infinity && coalesce === 0
  }
}

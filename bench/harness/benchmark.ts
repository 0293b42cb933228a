/** What a benchmark is: work, the contenders that do it, and the peer they do it with. */

/** Where a server listens, and what a client needs to know of it. */
export interface Address {
  readonly port: number
  /** The port of a proxy to go through. */
  readonly via?: number | undefined
  /** The certificate authority to trust, PEM. */
  readonly ca?: string | undefined
  /** Where the peer keeps what both sides need, and where the contenders may write. It is removed with the peer. */
  readonly folder?: string | undefined
}

/** One run of a client: it goes on until `over`, or until it has worked `limit` times (per connection). */
export interface Round {
  readonly over: boolean
  readonly limit: number
  /** Given what came back, when answers are compared; not when time is measured. */
  readonly seen: ((answer: Uint8Array | string) => void) | undefined
}

/** Works for one round and says how much it did, in the benchmark's unit. */
export type Client = (round: Round) => Promise<number>

export type StartClient = (address: Address) => Client | Promise<Client>

export type StartServer = () => Address | Promise<Address>

/** Two contenders that are compared. */
export interface Pair {
  readonly contender: string
  readonly baseline: string
  /** The ratio to reach. None: the pair is shown for information. */
  readonly atLeast?: number | undefined
}

interface Common {
  readonly name: string
  /** What `Client` counts. */
  readonly unit: string
  /** `limit` of the round in which answers are compared. */
  readonly checkLimit: number
  /** At most so many rounds, for work that takes seconds each time. */
  readonly rounds?: number | undefined
  readonly pairs: ReadonlyArray<Pair>
  /** Done after each round, outside the time that is measured: waits until the peer has dealt with what was left to it. */
  readonly settle?: ((address: Address) => Promise<unknown>) | undefined
  /** The module whose default export starts the other side, which is the same for every contender. */
  readonly peer: URL
}

export type Benchmark =
  | Common & {
    readonly measures: "client"
    /** The peer is a `StartServer`. */
    readonly contenders: Readonly<Record<string, StartClient>>
  }
  | Common & {
    /** `memory`: what the server needs for each of `checkLimit` connections that the peer opens and holds. */
    readonly measures: "server" | "memory"
    /** The peer is a `StartClient`. */
    readonly contenders: Readonly<Record<string, StartServer>>
  }

/** The benchmarks of one file, which every contender's process loads again. */
export interface Suite {
  readonly url: string
  /** A module that every contender's process loads before all others. */
  readonly preload?: string | undefined
  readonly benchmarks: ReadonlyArray<Benchmark>
}

/** Suites that are run together, under one name. */
export interface Group {
  readonly suites: ReadonlyArray<Suite>
  /** Why they cannot be run here, and what to do about it. */
  readonly missing?: (() => string | undefined) | undefined
  /** What else their results depend on, here. */
  readonly conditions?: (() => string) | undefined
}

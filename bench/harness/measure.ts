/**
 * Runs one benchmark: every contender in a process of its own, one after the other in each round, in another order each
 * round, so that whatever else happens on the machine happens to all of them.
 */
import type { Benchmark, Suite } from "./benchmark.ts"
import type { Cores } from "./cores.ts"
import { Side } from "./process.ts"

export interface Plan {
  readonly rounds: number
  /** How long each contender works in each round. */
  readonly milliseconds: number
  readonly cores: Cores | undefined
}

/** What one contender did in one round. */
export interface Sample {
  /** Units a second; for memory, connections a byte. */
  readonly rate: number
  /** What one unit costs the measured process: seconds of the processor, for it and what it started; for memory, bytes of its heap. */
  readonly cost: number
}

export type Samples = ReadonlyMap<string, ReadonlyArray<Sample>>

/** A contender that is ready: `driver` is the side that works when asked, `measured` the contender itself. */
interface Entrant {
  readonly name: string
  readonly measured: Side
  readonly driver: Side
  readonly port: number
}

const contenderSide = (suite: Suite, benchmark: Benchmark, name: string, cores: Cores | undefined) =>
  new Side(`${benchmark.name}, ${name}`, [suite.url, benchmark.name, name], cores?.measured, suite.preload)

const peerSide = (benchmark: Benchmark, cores: Cores | undefined) =>
  new Side(`${benchmark.name}, peer`, [benchmark.peer.href], cores?.peer)

/** Each contender comes first, last and between the others equally often. */
const orderOf = <A>(items: ReadonlyArray<A>, round: number): ReadonlyArray<A> => {
  const from = (round >> 1) % items.length
  const rotated = [...items.slice(from), ...items.slice(0, from)]
  return round % 2 === 0 ? rotated : rotated.toReversed()
}

const enter = async (benchmark: Benchmark, sides: ReadonlyMap<string, Side>, peer: Side) => {
  const entrants: Array<Entrant> = []
  const listening = benchmark.measures === "client" ? await peer.listen() : undefined
  for (const [name, measured] of sides) {
    const address = listening ?? await measured.listen()
    const driver = listening === undefined ? peer : measured
    await driver.connect(address)
    entrants.push({ name, measured, driver, port: address.port })
  }
  return entrants
}

const checkAnswers = async (benchmark: Benchmark, entrants: ReadonlyArray<Entrant>) => {
  const answers = new Map<string, string>()
  for (const { driver, name, port } of entrants) {
    answers.set(name, (await driver.work(port, { limit: benchmark.checkLimit })).answer)
  }
  if (new Set(answers.values()).size > 1) {
    throw new Error(
      `the contenders do not agree: ${[...answers].map(([name, answer]) => `${name}: ${answer}`).join("; ")}`
    )
  }
}

const sample = async ({ driver, measured, name, port }: Entrant, milliseconds: number): Promise<Sample> => {
  const before = await measured.cpu()
  const { amount, seconds } = await driver.work(port, { milliseconds })
  // timers may be early by a millisecond
  if (seconds * 1000 < milliseconds - 2) throw new Error(`${name} stopped before the round was over`)
  return { rate: amount / seconds, cost: (await measured.cpu() - before) / amount }
}

/** Rounds that do not count, in which the code is compiled. */
const warmups = 4

const roundsOf = (benchmark: Benchmark, plan: Plan) => Math.min(plan.rounds, benchmark.rounds ?? Infinity)

/** Memory is measured in few rounds: it varies little, and each one starts new processes. */
const memoryRounds = 3

/** What a connection costs: a new process each time, since memory that was used once is not given back. */
const sampleMemory = async (suite: Suite, benchmark: Benchmark, name: string, plan: Plan): Promise<Sample> => {
  const server = contenderSide(suite, benchmark, name, plan.cores)
  const peer = peerSide(benchmark, plan.cores)
  try {
    const address = await server.listen()
    await peer.connect(address)
    // the first ones load what all of them share, and fill the pages that were used and freed while the process started
    await peer.work(address.port, { limit: Math.ceil(benchmark.checkLimit / 5) })
    const before = await server.memory()
    const { amount } = await peer.work(address.port, { limit: benchmark.checkLimit })
    const after = await server.memory()
    return { rate: amount / (after.rss - before.rss), cost: (after.heap - before.heap) / amount }
  } finally {
    server.stop()
    peer.stop()
  }
}

/** Runs a benchmark. Fails when a process fails, or when the contenders do not agree on the answer. */
export const measure = async (suite: Suite, benchmark: Benchmark, plan: Plan): Promise<Samples> => {
  const names = Object.keys(benchmark.contenders)
  const samples = new Map<string, Array<Sample>>(names.map((name) => [name, []]))
  if (benchmark.measures === "memory") {
    for (let round = 0; round < Math.min(plan.rounds, memoryRounds); round++) {
      for (const name of orderOf(names, round)) {
        samples.get(name)?.push(await sampleMemory(suite, benchmark, name, plan))
      }
    }
    return samples
  }
  const sides = new Map(names.map((name) => [name, contenderSide(suite, benchmark, name, plan.cores)]))
  const peer = peerSide(benchmark, plan.cores)
  try {
    const entrants = await enter(benchmark, sides, peer)
    await checkAnswers(benchmark, entrants)
    // work that takes seconds has been done for seconds when its answers are checked
    for (let i = 0; i < (benchmark.rounds === undefined ? warmups : 1); i++) {
      for (const entrant of entrants) await sample(entrant, plan.milliseconds)
    }
    for (let round = 0; round < roundsOf(benchmark, plan); round++) {
      for (const entrant of orderOf(entrants, round)) {
        samples.get(entrant.name)?.push(await sample(entrant, plan.milliseconds))
      }
    }
    return samples
  } finally {
    for (const side of [peer, ...sides.values()]) side.stop()
  }
}

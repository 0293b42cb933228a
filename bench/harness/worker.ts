/**
 * One side of a benchmark in a process of its own: a contender (`worker.ts FILE BENCHMARK CONTENDER`) or a peer
 * (`worker.ts FILE`). It does what the process that started it asks for, one request after the other.
 */
import { setImmediate, setTimeout } from "node:timers/promises"
import type { Address, Benchmark, Client, StartClient, StartServer, Suite } from "./benchmark.ts"
import type { Answer, Memory, Request, Until, Worked } from "./process.ts"
import { processorTime } from "./processorTime.ts"

const [url = "", name, contender = ""] = process.argv.slice(2)

/** What this process can be asked to start. */
interface Part {
  readonly listen?: StartServer | undefined
  readonly connect?: StartClient | undefined
  readonly settle?: Benchmark["settle"]
}

const loadPeer = async (): Promise<Part> => {
  // either of the two: the benchmark says which, by what it asks for
  const module: { readonly default: StartServer & StartClient } = await import(url)
  return { listen: module.default, connect: module.default }
}

const loadContender = async (): Promise<Part> => {
  const module: { readonly default: Suite } = await import(url)
  const benchmark = module.default.benchmarks.find((benchmark) => benchmark.name === name)
  return benchmark?.measures === "client"
    ? { connect: benchmark.contenders[contender], settle: benchmark.settle }
    : { listen: benchmark?.contenders[contender] }
}

const part = name === undefined ? loadPeer() : loadContender()
const clients = new Map<number, { readonly address: Address; readonly run: Client }>()

/** A sum that depends neither on the order of answers nor on how the network cut them. */
const add = (sum: number, answer: Uint8Array | string) => {
  if (typeof answer === "string") {
    for (let i = 0; i < answer.length; i++) sum += answer.charCodeAt(i)
  } else {
    for (const byte of answer) sum += byte
  }
  return sum
}

const work = async (port: number, until: Until): Promise<Worked> => {
  const client = clients.get(port)
  if (client === undefined) throw new Error(`not connected to ${port}`)
  let size = 0
  let sum = 0
  const round = {
    over: false,
    limit: "limit" in until ? until.limit : Infinity,
    seen: "milliseconds" in until ? undefined : (answer: Uint8Array | string) => {
      size += answer.length
      sum = add(sum, answer)
    }
  }
  const begin = performance.now()
  if ("milliseconds" in until) {
    void setTimeout(until.milliseconds).then(() => {
      round.over = true
    })
  }
  const amount = await client.run(round)
  const seconds = (performance.now() - begin) / 1000
  await (await part).settle?.(client.address)
  return { amount, seconds, answer: `${amount} done, ${size} bytes, sum ${sum}` }
}

const memory = async (): Promise<Memory> => {
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.()
    await setImmediate()
  }
  const { arrayBuffers, heapUsed, rss } = process.memoryUsage()
  return { rss, heap: heapUsed + arrayBuffers }
}

const connect = async (address: Address): Promise<void> => {
  const run = await (await part).connect?.(address)
  if (run === undefined) throw new Error(`${contender} is no client`)
  clients.set(address.port, { address, run })
}

const answer = async (request: Request): Promise<unknown> => {
  if (request.type === "listen") return (await part).listen?.()
  if (request.type === "connect") return connect(request.address)
  if (request.type === "work") return work(request.port, request.until)
  return request.type === "cpu" ? processorTime() : memory()
}

process.on("message", async (request: Request) => {
  const reply = (answer: Answer) => process.send?.(answer)
  try {
    reply({ value: await answer(request) })
  } catch (cause) {
    reply({ error: cause instanceof Error ? cause.stack ?? cause.message : String(cause) })
  }
})

// nobody is left to answer
process.on("disconnect", () => process.exit())

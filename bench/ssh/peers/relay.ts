/**
 * A line with a delay, as a process of its own: `relay.ts PORT MILLISECONDS` passes on what comes, both ways, so much
 * later, and as much at once as comes. It says the port that it listens at.
 */
import * as Net from "node:net"
import { setTimeout } from "node:timers/promises"

const [port = 0, delay = 0] = process.argv.slice(2).map(Number)

/** Timers are for whole milliseconds. */
const early = 0.5

/** Passes one direction on; nothing holds the sender back. */
const pass = (from: Net.Socket, to: Net.Socket): void => {
  const waiting: Array<{ readonly due: number; readonly pass: () => void }> = []
  let waits = false
  const wait = () => {
    const [next] = waiting
    if (waits || next === undefined) return
    waits = true
    void setTimeout(Math.max(0, next.due - performance.now())).then(onTime)
  }
  const onTime = () => {
    waits = false
    const now = performance.now() + early
    const later = waiting.findIndex(({ due }) => due > now)
    to.cork()
    for (const { pass } of waiting.splice(0, later === -1 ? waiting.length : later)) pass()
    to.uncork()
    wait()
  }
  const add = (pass: () => void) => {
    waiting.push({ due: performance.now() + delay, pass })
    wait()
  }
  from
    .on("data", (bytes) => add(() => to.write(bytes)))
    .on("end", () => add(() => to.end()))
    .on("error", () => to.destroy())
}

const server = Net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  const onward = Net.connect({ host: "127.0.0.1", port, allowHalfOpen: true, noDelay: true })
  pass(socket, onward)
  pass(onward, socket)
})

server.listen(0, "127.0.0.1", () => process.send?.(server.address()))
process.on("disconnect", () => process.exit())

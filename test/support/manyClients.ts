/**
 * Many clients in a process of their own, without anything of ours: connects `count` of them to a port, all at once open,
 * prints "open", and when it is sent a line, writes one line on each, waits for all answers, and prints how many came
 * back right. `node manyClients.ts PORT COUNT`.
 */
import * as Net from "node:net"

const [port = 0, count = 0] = process.argv.slice(2).map(Number)
const sockets: Array<Net.Socket> = []

/** So many at once, that no backlog overflows. */
const pace = 100

const connectNext = () => {
  if (sockets.length === count) return
  const socket = Net.connect({ host: "127.0.0.1", port })
  sockets.push(socket)
  socket.once("data", () => {
    if (++greeted === count) process.stdout.write("open\n")
    connectNext()
  }).once("error", (cause) => {
    process.stdout.write(`${cause.message}\n`)
    process.exit(1)
  })
}
let greeted = 0

process.stdin.once("data", () => {
  let answered = 0
  let right = 0
  for (const [i, socket] of sockets.entries()) {
    socket.write(`${i}\n`)
    socket.once("data", (data) => {
      if (String(data) === `${i}\n`) right++
      if (++answered === count) process.stdout.write(`${right}\n`)
    })
  }
})
process.stdin.on("end", () => process.exit(0))

for (let i = 0; i < pace; i++) connectNext()

/** TLS: receiving in bulk, and connecting to a server that is known from before, whose session is resumed. */
import * as Effect from "effect/Effect"
import { TcpClient, Tls } from "hawser"
import * as NodeTls from "node:tls"
import type { Address, Client, Round, Suite } from "../harness/benchmark.ts"
import { client, type Path } from "./hawser.ts"
import { sum } from "./peers/ask.ts"
import { name } from "./peers/certificate.ts"
import { connected, type Open } from "./peers/connect.ts"
import { clientOptions } from "./peers/protocol.ts"
import { byStream, hawser, rawReceive, repeat } from "./transfer.ts"

const path: Path = ({ ca }) => Tls.layer({ ca, servername: name })

const connectionOptions = ({ ca, port }: Address) => ({ ...clientOptions, port, ca, servername: name })

const open: Open = (address) => connected(NodeTls.connect(connectionOptions(address)))

const concurrency = 8

const parallel = (round: Round, handshake: () => Promise<number>) =>
  Promise.all(Array.from({ length: concurrency }, () => repeat(round, handshake))).then(sum)

/** The byte that follows a handshake is compared after the first one, which has no session to resume. */
const hawserHandshakes = async (address: Address): Promise<Client> => {
  const runtime = client(address, path)
  const target = { host: "127.0.0.1", port: address.port }
  const greeted = TcpClient.TcpClient.use((tcp) => tcp.connect(target)).pipe(
    Effect.flatMap((connection) => connection.readExactly(1)),
    Effect.scoped
  )
  await runtime.runPromise(greeted)
  return async (round) => {
    const again = Effect.gen(function*() {
      let done = 0
      do {
        const greeting = yield* greeted
        round.seen?.(greeting)
      } while (++done < round.limit && !round.over)
      return done
    })
    return sum(
      await runtime.runPromise(
        Effect.all(Array.from({ length: concurrency }, () => again), { concurrency: "unbounded" })
      )
    )
  }
}

const rawHandshakes = async (address: Address): Promise<Client> => {
  const options = { ...connectionOptions(address), secureContext: NodeTls.createSecureContext({ ca: address.ca }) }
  let session: Buffer | undefined
  const handshake = (round?: Round): Promise<number> =>
    new Promise((resolve, reject) => {
      const socket = NodeTls.connect({ ...options, session })
      socket.on("session", (issued) => session = issued)
      socket.on("error", reject).once("data", (greeting) => {
        round?.seen?.(greeting)
        // RFC 8446, section 6.1: each side says that it ends before it closes
        socket.end(() => {
          socket.destroy()
          resolve(1)
        })
      })
    })
  await handshake()
  return (round) => parallel(round, () => handshake(round))
}

const suite: Suite = {
  url: import.meta.url,
  benchmarks: [
    {
      name: "tls bulk",
      unit: "MiB",
      checkLimit: 1,
      measures: "client",
      peer: new URL("peers/tlsSource.ts", import.meta.url),
      contenders: { hawser: hawser(byStream, path), raw: rawReceive(open) },
      pairs: [{ contender: "hawser", baseline: "raw", atLeast: 0.97 }]
    },
    {
      name: "tls handshakes",
      unit: "handshakes",
      checkLimit: 10,
      measures: "client",
      peer: new URL("peers/tlsGreeter.ts", import.meta.url),
      contenders: { hawser: hawserHandshakes, raw: rawHandshakes },
      pairs: [{ contender: "hawser", baseline: "raw", atLeast: 0.97 }]
    }
  ]
}

export default suite

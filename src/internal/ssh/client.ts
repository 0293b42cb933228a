import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Duplex } from "node:stream"
import { HandshakeFailed, HandshakeTimeout, type SshErrorReason, Unsupported } from "../../errors/SshError.ts"
import { directReads } from "../net/directReads.ts"
import * as Algorithms from "./algorithms.ts"
import type { Agent } from "./auth/credential.ts"
import * as Exchange from "./auth/exchange.ts"
import { type Attempt, Login } from "./auth/login.ts"
import { Sessions } from "./channel/sessions.ts"
import { type Connection, Life } from "./connection.ts"
import * as AgentForwarding from "./forward/agent.ts"
import { Handshake } from "./handshake.ts"
import { type HostKey, hostKey } from "./hostKeys/publicKey.ts"
import * as Identification from "./identification.ts"
import * as NativeCrypto from "./nativeCrypto.ts"
import type { Observer } from "./observe.ts"
import * as Packets from "./packets.ts"
import * as Patience from "./patience.ts"
import * as Protocol from "./protocol.ts"
import * as Rekey from "./rekey.ts"
import * as ServerOffer from "./serverOffer.ts"
import Ssh2 from "./ssh2.ts"
import { Upkeep } from "./upkeep.ts"
import { writeTogether } from "./writeTogether.ts"

/** What has to be settled before the server is trusted; see `HostKeys.Check`. */
export interface HostKeyCheck {
  readonly preferredTypes: ReadonlyArray<string>
  readonly verify: (key: HostKey) => Effect.Effect<void, SshErrorReason>
  readonly proved: (key: HostKey) => Effect.Effect<void, SshErrorReason>
}

export interface ClientOptions {
  readonly username: string
  readonly attempts: ReadonlyArray<Attempt>
  readonly hostKeys: HostKeyCheck
  readonly algorithms: Algorithms.Wanted | undefined
  readonly keepAlive: Duration.Duration | undefined
  readonly keepAliveCount: number
  readonly rekeyBytes: number
  readonly rekeyInterval: Duration.Duration
  readonly handshakeTimeout: Duration.Duration
  /** An agent that the programs of the server may ask. */
  readonly agent: Agent | undefined
  readonly observer: Observer
}

/** What a peer says, as part of a line that people read. */
const printable = (words: string) => words.replace(/\p{Cc}+/gu, " ").trim()

/** What ssh2 says of a packet that fails its check: OpenSSL's words, which are none where the addon calls it, or its own. */
const wasChanged = /^error:00000000:|unable to authenticate data|^Invalid MAC$/

const wordsOf = ({ message }: Error) =>
  wasChanged.test(message) ? "a packet was changed on its way" : printable(message)

/** Whether the connection has failed, and not what came over it. */
const isLoss = (error: Error) =>
  Reflect.get(error, "level") === "client-socket" || error.message === "Connection lost before handshake"

/** A packet has 32 KiB, and ssh2 copies one that comes in two reads: not many should. */
const readSize = 128 * 1024

const closedHere = "the session was closed"

/** Speaks SSH on an open connection until it is ready for channels, for as long as the scope lives. */
export const connect = Effect.fnUntraced(function*(duplex: Duplex, options: ClientOptions) {
  yield* NativeCrypto.report
  const offer = Algorithms.offer(options.algorithms, options.hostKeys.preferredTypes)
  if (offer instanceof Unsupported) return yield* offer
  const { observer } = options
  const clock = yield* Clock.Clock
  const started = clock.currentTimeMillisUnsafe()
  const handshake = new Handshake()
  const life = new Life()
  const identification = Identification.inOnePiece(duplex)
  const login = new Login(options.attempts)
  const client = new Ssh2.Client()
  const close = Effect.sync(() => {
    life.end(closedHere)
    client.end()
  })
  yield* Effect.addFinalizer(() => close)

  const over = (detail: string, closed: boolean, cause?: Error): void => {
    life.end(detail, cause)
    // ssh2 half-closes at most, which leaves channels open for as long as the server likes
    if (Deferred.isDoneUnsafe(handshake.ready)) return void duplex.destroy()
    const instead = identification.received
    handshake.fail(
      new HandshakeFailed({
        detail: instead === "" ? detail : `${detail}; it does not speak SSH but sent ${JSON.stringify(instead)}`,
        ...(closed && instead === "" ? { closed } : {}),
        ...(cause === undefined ? {} : { cause })
      })
    )
  }

  let first: HostKey | undefined
  const hostVerifier = (bytes: Buffer, permit: (permitted: boolean) => void): void => {
    // asked again with every new session key
    if (first !== undefined) return permit(bytes.equals(first.bytes))
    first = hostKey(Buffer.from(bytes))
    Deferred.doneUnsafe(handshake.shown, Effect.succeed([first, permit]))
  }

  let serverOffer: () => ServerOffer.ServerOffer | undefined = () => undefined
  /** A better reason than ssh2's words, where there is one. */
  const reasonOf = (error: Error): SshErrorReason | undefined => {
    const theirs = error.message.includes("no matching") ? serverOffer() : undefined
    return theirs === undefined ? login.endedBy(error) : Algorithms.mismatch(offer, theirs)
  }

  let goodbye = ""
  let banner = ""
  const closed = () => over(`the server closed it${goodbye}`, goodbye === "")
  client
    .on("handshake", (agreed) => Deferred.doneUnsafe(handshake.agreed, Effect.succeed(Algorithms.negotiated(agreed))))
    .on("banner", (text) => {
      banner += text
      observer.event("banner", () => printable(text))
    })
    .on("ready", () => Deferred.doneUnsafe(handshake.ready, Effect.void))
    .on("error", (error: Error) => {
      const reason = reasonOf(error)
      if (reason !== undefined) handshake.fail(reason)
      over(wordsOf(error), isLoss(error), error)
    })
    .on("end", closed)
    .on("close", closed)
  // a server's goodbye makes ssh2 end our side and then wait for ever
  duplex.once("finish", closed)

  const agent = options.agent === undefined ? undefined : yield* AgentForwarding.make(options.agent, () => connection)

  yield* Effect.try({
    try: () =>
      client.connect({
        sock: duplex,
        username: options.username,
        ...agent?.settings,
        hostVerifier,
        algorithms: Algorithms.toSsh2(offer),
        // time is ours: a person may be asked about the key, and tests have clocks of their own
        readyTimeout: 0,
        keepaliveInterval: 0,
        // the check it means knows OpenSSH by name only; others speak its extensions too
        strictVendor: false
      }),
    catch: (cause) =>
      new HandshakeFailed({ detail: cause instanceof Error ? cause.message : "ssh2 did not start", cause })
  })
  writeTogether(duplex)
  const upkeep = new Upkeep(client, duplex, clock, {
    rekeyBytes: options.rekeyBytes,
    rekeyMillis: Duration.toMillis(options.rekeyInterval),
    keepAlive: options.keepAlive === undefined ? undefined : {
      interval: options.keepAlive,
      // one question is enough: nothing gets lost on the way to a server that is there
      timeout: Duration.times(options.keepAlive, options.keepAliveCount),
      withoutCalls: true
    }
  })
  const reads = directReads(duplex)
  if (reads !== undefined) reads.ownSize = readSize
  // ssh2 begins to listen later. Nobody may do so before it: a stream that was read in another way would begin to flow
  duplex.once("resume", () => {
    serverOffer = ServerOffer.watch(duplex)
    upkeep.listen(duplex)
  })
  Protocol.onDisconnect(client, (words) => {
    if (words !== "") goodbye = `: ${printable(words)}`
  })
  const exchange = yield* Exchange.takeOver(client)

  const established = Effect.gen(function*() {
    const [key, permit] = yield* Deferred.await(handshake.shown)
    yield* Effect.tapError(options.hostKeys.verify(key), (reason) =>
      Effect.sync(() => {
        handshake.fail(reason)
        permit(false)
      }))
    permit(true)
    // only now has the server proved that it holds the key
    const algorithms = yield* Deferred.await(handshake.agreed)
    yield* options.hostKeys.proved(key)
    yield* login.run(exchange, options.username)
    yield* Deferred.await(handshake.ready)
    return { key, algorithms }
  })
  const { algorithms, key } = yield* Patience.within(
    Effect.raceFirst(established, Deferred.await(handshake.failed)),
    options.handshakeTimeout,
    () =>
      Effect.fail(
        new HandshakeTimeout({
          after: options.handshakeTimeout,
          phase: identification.complete ? handshake.phase : "the server's identification"
        })
      )
  )
  const stopAsking = upkeep.start(() => over("Keepalive timeout", true))
  life.onLost(stopAsking)
  yield* Effect.addFinalizer(() => Effect.sync(stopAsking))
  Packets.lend(client, duplex)
  observer.opened(clock.currentTimeMillisUnsafe() - started)
  life.onLost(({ detail }) => observer.closed(detail, detail !== closedHere, upkeep))
  const connection: Connection = {
    client,
    hostKey: key,
    serverVersion: identification.line,
    banner,
    algorithms,
    observer,
    sessions: new Sessions(client, observer),
    withAgent: agent === undefined ? (request) => request : agent.request,
    lost: life.lost,
    onLost: life.onLost,
    rekey: Rekey.rekey(client, life),
    close
  }
  return connection
})

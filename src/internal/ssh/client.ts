import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Duplex } from "node:stream"
import type { ServerHostKeyAlgorithm } from "ssh2"
import { HandshakeFailed, HandshakeTimeout, type SshErrorReason } from "../../errors/SshError.ts"
import * as Exchange from "./auth/exchange.ts"
import { type Attempt, Login } from "./auth/login.ts"
import { Sessions } from "./channel/sessions.ts"
import { type Connection, Life } from "./connection.ts"
import { type HostKey, hostKey } from "./hostKeys/publicKey.ts"
import * as Identification from "./identification.ts"
import * as Patience from "./patience.ts"
import Ssh2, { isNative, refused } from "./ssh2.ts"

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
  readonly keepAlive: Duration.Duration | undefined
  readonly handshakeTimeout: Duration.Duration
}

/** Without `ssh-rsa`, which means signatures with SHA-1 (RFC 8332). */
const hostKeyAlgorithms: ReadonlyArray<ServerHostKeyAlgorithm> = [
  "ssh-ed25519",
  "ecdsa-sha2-nistp256",
  "ecdsa-sha2-nistp384",
  "ecdsa-sha2-nistp521",
  "rsa-sha2-512",
  "rsa-sha2-256"
]

const keyTypeOf = (algorithm: string) => algorithm.startsWith("rsa-sha2-") ? "ssh-rsa" : algorithm

/** The algorithms to offer for host keys, those of known types first. */
export const hostKeyOffer = (types: ReadonlyArray<string>): Array<ServerHostKeyAlgorithm> => {
  const preferred = hostKeyAlgorithms.filter((algorithm) => types.includes(keyTypeOf(algorithm)))
  return [...preferred, ...hostKeyAlgorithms.filter((algorithm) => !preferred.includes(algorithm))]
}

const keepAliveCount = 3

let cryptoReported = false

/** ssh2 falls back to JavaScript without a word when its native part was not built; the same, and slower. */
const reportCrypto = Effect.suspend(() => {
  if (cryptoReported) return Effect.void
  cryptoReported = true
  return isNative() !== false
    ? Effect.void
    : Effect.logDebug(
      refused
        ? "ssh2 runs without its native crypto, which is not safe as this version of Node compiles it"
        : "ssh2 runs without its native crypto (run `npm rebuild ssh2` with a C++ compiler to get it)"
    )
})

/** What happens on the way to a session, as values that can be waited for. */
class Handshake {
  readonly shown = Deferred.makeUnsafe<readonly [key: HostKey, permit: (permitted: boolean) => void]>()
  readonly agreed = Deferred.makeUnsafe<void>()
  readonly ready = Deferred.makeUnsafe<void>()
  readonly failed = Deferred.makeUnsafe<never, SshErrorReason>()

  fail(reason: SshErrorReason): void {
    Deferred.doneUnsafe(this.failed, Effect.fail(reason))
  }

  get phase(): string {
    return Deferred.isDoneUnsafe(this.agreed)
      ? "the login"
      : Deferred.isDoneUnsafe(this.shown)
      ? "the host key to be verified"
      : "the server's host key"
  }
}

/** Speaks SSH on an open connection until it is ready for channels, for as long as the scope lives. */
export const connect = Effect.fnUntraced(function*(duplex: Duplex, options: ClientOptions) {
  yield* reportCrypto
  const handshake = new Handshake()
  const life = new Life()
  const identification = Identification.inOnePiece(duplex)
  const login = new Login(options.attempts)
  const client = yield* Effect.acquireRelease(
    Effect.sync(() => new Ssh2.Client()),
    (client) =>
      Effect.sync(() => {
        life.end("the session was closed")
        client.end()
      })
  )

  const over = (detail: string, cause?: Error) => {
    const instead = identification.received
    handshake.fail(
      new HandshakeFailed({
        detail: instead === "" ? detail : `${detail}; it does not speak SSH but sent ${JSON.stringify(instead)}`,
        ...(cause === undefined ? {} : { cause })
      })
    )
    life.end(detail)
    // ssh2 half-closes at most, which leaves channels open for as long as the server likes
    if (Deferred.isDoneUnsafe(handshake.ready)) duplex.destroy()
  }

  let first: HostKey | undefined
  const hostVerifier = (bytes: Buffer, permit: (permitted: boolean) => void): void => {
    // asked again with every new session key
    if (first !== undefined) return permit(bytes.equals(first.bytes))
    first = hostKey(Buffer.from(bytes))
    Deferred.doneUnsafe(handshake.shown, Effect.succeed([first, permit]))
  }

  const closed = () => over("the server closed it")
  client
    .on("handshake", () => Deferred.doneUnsafe(handshake.agreed, Effect.void))
    .on("ready", () => Deferred.doneUnsafe(handshake.ready, Effect.void))
    .on("error", (error: Error) => {
      const reason = login.endedBy(error)
      if (reason !== undefined) handshake.fail(reason)
      over(error.message, error)
    })
    .on("end", closed)
    .on("close", closed)
  // a server's goodbye makes ssh2 end our side and then wait for ever
  duplex.once("finish", closed)

  yield* Effect.try({
    try: () =>
      client.connect({
        sock: duplex,
        username: options.username,
        hostVerifier,
        algorithms: { serverHostKey: hostKeyOffer(options.hostKeys.preferredTypes) },
        // time is ours: a person may be asked about the key, and tests have clocks of their own
        readyTimeout: 0,
        keepaliveInterval: options.keepAlive === undefined ? 0 : Duration.toMillis(options.keepAlive),
        keepaliveCountMax: keepAliveCount,
        // the check it means knows OpenSSH by name only; others speak its extensions too
        strictVendor: false
      }),
    catch: (cause) =>
      new HandshakeFailed({ detail: cause instanceof Error ? cause.message : "ssh2 did not start", cause })
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
    yield* Deferred.await(handshake.agreed)
    yield* options.hostKeys.proved(key)
    yield* login.run(exchange, options.username)
    yield* Deferred.await(handshake.ready)
    return key
  })
  const key = yield* Patience.within(
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
  const connection: Connection = {
    client,
    hostKey: key,
    sessions: new Sessions(client),
    lost: life.lost,
    onLost: life.onLost
  }
  return connection
})

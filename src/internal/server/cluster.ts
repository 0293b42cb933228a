import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as NetAddress from "effect/net/NetAddress"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import Cluster, { type Address, type Worker } from "node:cluster"
import { availableParallelism } from "node:os"
import { AddressInUse, PermissionDenied, TcpError, Unknown } from "../../errors/TcpError.ts"

export interface ClusterOptions {
  readonly workers: number | undefined
  readonly restart: Schedule.Schedule<unknown> | undefined
  readonly drainTimeout: Duration.Duration
}

/** How long a worker may take to end after its handlers had their time. */
const grace = Duration.seconds(5)

// ---- what workers and their primary tell each other

const drain = "hawser/drain"

interface Failed {
  readonly type: "hawser/failed"
  readonly reason: string
  readonly address: string
  readonly message: string
}

const isFailed = (message: unknown): message is Failed =>
  typeof message === "object" && message !== null && Reflect.get(message, "type") === "hawser/failed"

const errorOf = ({ address, message, reason }: Failed): TcpError => {
  switch (reason) {
    case "AddressInUse":
      return new TcpError({ reason: new AddressInUse({ address }) })
    case "PermissionDenied":
      return new TcpError({ reason: new PermissionDenied({ address }) })
    default:
      return new TcpError({ reason: new Unknown({ detail: `a worker cannot serve: ${message}` }) })
  }
}

// ---- workers

/** Whether this process is one of a cluster's workers. */
export const isWorker: boolean = Cluster.isWorker

/**
 * Listens for the primary's request to stop serving, which the effect that comes back waits for. To be done before this
 * worker listens: from then on the primary sends it, and what nobody hears is lost.
 */
export const drainRequests: Effect.Effect<Effect.Effect<void>, never, Scope.Scope> = Effect.gen(function*() {
  const requested = yield* Deferred.make<void>()
  const listener = (message: unknown) => {
    if (message === drain) Deferred.doneUnsafe(requested, Exit.void)
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => process.on("message", listener)),
    () => Effect.sync(() => process.off("message", listener))
  )
  return requested
}).pipe(Effect.map((requested) => Deferred.await(requested)))

/** Tells the primary why this worker cannot serve. */
export const reportFailure = (error: unknown): Effect.Effect<void> =>
  Effect.sync(() => {
    const reason = error instanceof TcpError ? error.reason : undefined
    const failed: Failed = {
      type: "hawser/failed",
      reason: reason?._tag ?? "Unknown",
      address: reason !== undefined && "address" in reason ? reason.address : "",
      message: error instanceof Error ? error.message : String(error)
    }
    process.send?.(failed)
  })

/** Lets this process end: the channel to the primary keeps it alive. */
export const leave: Effect.Effect<void> = Effect.sync(() => void Cluster.worker?.disconnect())

// ---- the primary

const addressOf = ({ address, port }: Address): NetAddress.SocketAddress =>
  // Node's type says otherwise, but a unix socket has its path for an address and no port
  port === undefined || port === -1
    ? NetAddress.unixPathAddress(address)
    : NetAddress.inetAddressFromNativeUnsafe(address, port)

const exited = (worker: Worker): Effect.Effect<string> =>
  Effect.callback((resume) => {
    const done = (code: number | null, signal: string | null) =>
      resume(Effect.succeed(signal === null ? `exited with code ${code}` : `was ended by ${signal}`))
    if (worker.isDead()) return done(worker.process.exitCode, worker.process.signalCode)
    worker.once("exit", done)
    return Effect.sync(() => void worker.off("exit", done))
  })

/** Asks a worker to finish what it does, if it does anything yet, and ends it when that takes too long. */
const stop = (worker: Worker, listens: boolean, drainTimeout: Duration.Duration): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (worker.isDead()) return Effect.void
    if (listens && worker.isConnected()) worker.send(drain)
    else worker.process.kill("SIGTERM")
    return exited(worker).pipe(
      Effect.timeoutOrElse({
        duration: Duration.sum(drainTimeout, grace),
        orElse: () => {
          worker.process.kill("SIGKILL")
          return exited(worker)
        }
      }),
      Effect.asVoid
    )
  })

/** A cluster's address, and what fails when its workers cannot be kept alive. */
export interface Cluster {
  readonly address: NetAddress.SocketAddress
  readonly failure: Effect.Effect<never, TcpError>
}

/**
 * Starts workers, each of which runs this process's program, and starts them again when they end, until the scope closes.
 * Done when the first of them listens.
 */
export const supervise = Effect.fnUntraced(
  function*(options: ClusterOptions): Effect.fn.Return<Cluster, TcpError, Scope.Scope> {
    const listening = yield* Deferred.make<NetAddress.SocketAddress, TcpError>()
    const failure = yield* Deferred.make<never, TcpError>()

    /** Runs one worker to its end, which is always a failure: nobody has asked for it. */
    const work = Effect.scoped(Effect.gen(function*() {
      let listens = false
      const worker = yield* Effect.acquireRelease(
        Effect.sync(() => Cluster.fork()),
        (worker) => stop(worker, listens, options.drainTimeout)
      )
      worker
        // of the channel to it, which breaks when it ends
        .on("error", () => {})
        .on("listening", (address) => {
          listens = true
          Deferred.doneUnsafe(listening, Exit.succeed(addressOf(address)))
        })
        .on("message", (message: unknown) => {
          if (isFailed(message)) Deferred.doneUnsafe(listening, Exit.fail(errorOf(message)))
        })
      const how = yield* exited(worker)
      const error = new TcpError({ reason: new Unknown({ detail: `the worker ${worker.process.pid} ${how}` }) })
      yield* Deferred.fail(listening, error)
      yield* Effect.logWarning(error.message)
      return yield* error
    }))

    const restart = options.restart
      ?? Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("5 seconds")])
    yield* Effect.forEach(
      Array.from({ length: options.workers ?? availableParallelism() }),
      () => Effect.retry(work, restart),
      { concurrency: "unbounded", discard: true }
    ).pipe(
      Effect.catch((error) => Deferred.fail(failure, error)),
      Effect.forkScoped({ startImmediately: true })
    )
    return { address: yield* Deferred.await(listening), failure: Deferred.await(failure) }
  }
)

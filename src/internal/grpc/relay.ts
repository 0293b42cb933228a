import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs/promises"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import type { Duplex } from "node:stream"
import { DialError, type DialErrorReason, Unknown } from "../../errors/DialError.ts"
import { guardErrors } from "../net/owner.ts"
import * as Target from "../net/target.ts"

/** Dials, starts HTTP/2 with `start`, and keeps the connection until it closes or the channel does. */
export type Attempt = <A>(
  start: (duplex: Duplex) => Effect.Effect<A, DialErrorReason, Scope.Scope>
) => Effect.Effect<A, DialError>

/** Runs something for grpc-js, which wants a promise, for as long as the channel is open. */
export type Run = <A, E>(effect: Effect.Effect<A, E>) => Promise<A>

/** Copies bytes both ways until either side closes; ready when the first bytes of the server have come. */
const join = (ours: Net.Socket, dialled: Duplex): Effect.Effect<void, Unknown> =>
  Effect.callback((resume) => {
    const onData = () => {
      dialled.off("close", onClose)
      resume(Effect.void)
    }
    const onClose = () => {
      dialled.off("data", onData)
      resume(Effect.fail(new Unknown({ detail: "no HTTP/2: the peer closed the connection" })))
    }
    dialled.once("data", onData).once("close", onClose).once("close", () => ours.destroy())
    ours.once("close", () => dialled.destroy())
    dialled.pipe(ours)
    ours.pipe(dialled)
    return Effect.sync(() => void ours.destroy())
  })

/**
 * Gives grpc-js a unix socket to connect to, in a folder that only this user can enter, and dials for each connection to
 * it. Returns the path of the socket.
 */
export const listen = (
  attempt: Attempt,
  run: Run,
  target: Target.Target
): Effect.Effect<string, DialError, Scope.Scope> =>
  Effect.gen(function*() {
    const folder = yield* Effect.acquireRelease(
      Effect.tryPromise(() => Fs.mkdtemp(Path.join(Os.tmpdir(), "hawser-"))),
      (folder) => Effect.ignore(Effect.tryPromise(() => Fs.rm(folder, { recursive: true, force: true })))
    )
    const path = Path.join(folder, "grpc")
    const sockets = new Set<Net.Socket>()
    const server = yield* Effect.acquireRelease(
      Effect.sync(() =>
        Net.createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => {
          sockets.add(guardErrors(socket))
          socket.once("close", () => sockets.delete(socket))
          run(attempt((dialled) => join(socket, dialled))).catch(() => socket.destroy())
        })
      ),
      (server) =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          for (const socket of sockets) socket.destroy()
        })
    )
    yield* Effect.callback<void, Error>((resume) => {
      server.once("error", (cause) => resume(Effect.fail(cause)))
      server.listen(path, () => resume(Effect.void))
    })
    return path
  }).pipe(
    Effect.mapError((cause) =>
      new DialError({
        target: Target.format(target),
        hop: "http/2",
        reason: new Unknown({ detail: `cannot listen on a unix socket: ${cause.message}`, cause })
      })
    )
  )

/**
 * What small servers need to be written as straight-line Effects: a listener on a free port of 127.0.0.1, reads that wait,
 * and a relay between two sockets.
 */
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import type { Duplex } from "node:stream"

/** The other side is gone, or cannot be reached. */
export class Gone extends Schema.TaggedError<Gone>()("Gone", { code: Schema.String }) {}

const gone = (cause?: NodeJS.ErrnoException) => new Gone({ code: cause?.code ?? "EOF" })

/** Closes a socket with the scope, after what was written. A socket without an error listener would end the process when it fails. */
const owned = (socket: Net.Socket) =>
  Effect.acquireRelease(
    Effect.sync(() => socket.on("error", () => {})),
    () => Effect.sync(() => socket.destroySoon())
  )

/** Runs `handle` for each connection, in a fibre and a scope of its own, until the scope closes. Gives the port. */
export const serve = Effect.fnUntraced(function*<E>(
  handle: (socket: Net.Socket) => Effect.Effect<void, E, Scope.Scope>
) {
  const run = yield* FiberSet.makeRuntime()
  const server = yield* Effect.acquireRelease(
    Effect.callback<Net.Server>((resume) => {
      const server = Net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
        run(Effect.ignore(Effect.scoped(Effect.andThen(owned(socket), handle(socket)))))
      })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => void server.close())
  )
  const address = server.address()
  return address === null || typeof address === "string" ? 0 : address.port
})

/** Connects for as long as the scope lives. */
export const connect = (host: string, port: number): Effect.Effect<Net.Socket, Gone, Scope.Scope> =>
  Effect.suspend(() => {
    const socket = Net.connect({ host, port, allowHalfOpen: true, noDelay: true })
    const connected = Effect.callback<Net.Socket, Gone>((resume) => {
      socket.once("connect", () => resume(Effect.succeed(socket)))
      socket.once("error", (cause) => resume(Effect.fail(gone(cause))))
    })
    return Effect.andThen(owned(socket), connected)
  })

/** Waits until `look` finds something in what has arrived. */
const wait = (socket: Duplex, look: () => Buffer | undefined): Effect.Effect<Buffer, Gone> =>
  Effect.callback<Buffer, Gone>((resume) => {
    const stop = () => void socket.off("readable", onReadable).off("end", onEnd).off("close", onEnd)
    const onReadable = () => {
      const found = look()
      if (found === undefined) return
      stop()
      resume(Effect.succeed(found))
    }
    const onEnd = () => {
      stop()
      resume(Effect.fail(gone()))
    }
    socket.on("readable", onReadable).on("end", onEnd).on("close", onEnd)
    onReadable()
    return Effect.sync(stop)
  })

/** Reads exactly `size` bytes. */
export const take = (socket: Duplex, size: number): Effect.Effect<Buffer, Gone> =>
  size === 0 ? Effect.succeed(Buffer.alloc(0)) : wait(socket, () => {
    const bytes: Buffer | null = socket.read(size)
    return bytes?.length === size ? bytes : undefined
  })

/** Reads up to and with `marker`; what follows stays. */
export const takeUntil = (socket: Duplex, marker: string): Effect.Effect<Buffer, Gone> => {
  let read = Buffer.alloc(0)
  return wait(socket, () => {
    for (let chunk: Buffer | null; (chunk = socket.read()) !== null;) {
      read = Buffer.concat([read, chunk])
      const at = read.indexOf(marker)
      if (at === -1) continue
      const end = at + marker.length
      if (end < read.length) socket.unshift(read.subarray(end))
      return read.subarray(0, end)
    }
    return undefined
  })
}

/** Passes bytes on in both directions until both have ended, or one side fails. */
export const relay = (a: Net.Socket, b: Net.Socket): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    let open = 2
    const onClose = () => {
      if (--open === 0) resume(Effect.void)
    }
    const onError = () => resume(Effect.void)
    a.once("close", onClose).once("error", onError).pipe(b)
    b.once("close", onClose).once("error", onError).pipe(a)
  })

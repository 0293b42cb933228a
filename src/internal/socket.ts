import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import type { TcpError } from "../errors/TcpError.ts"
import type { TlsOptions } from "./tls/options.ts"

/** What a socket of Effect's needs of a connection. */
export interface SocketPeer {
  readonly readBatch: Effect.Effect<ReadonlyArray<Uint8Array>, TcpError>
  readonly write: (data: Uint8Array | string) => Effect.Effect<void, TcpError>
  readonly writeAll: (pieces: ReadonlyArray<Uint8Array | string>) => Effect.Effect<void, TcpError>
  readonly closeWrite: Effect.Effect<void, TcpError>
  readonly close: Effect.Effect<void>
  readonly upgradeTls: (options: TlsOptions) => Effect.Effect<SocketPeer, unknown, Scope.Scope>
}

const fail = (reason: Socket.SocketErrorReason) => new Socket.SocketError({ reason })

const readError = (cause: TcpError) => {
  switch (cause.reason._tag) {
    case "EndOfStream":
      return fail(new Socket.SocketCloseError({ code: 1000 }))
    case "Closed":
      return fail(new Socket.SocketCloseError({ code: 1006 }))
    default:
      return fail(new Socket.SocketReadError({ cause }))
  }
}

const writeError = (cause: TcpError) => fail(new Socket.SocketWriteError({ cause }))

const text = (pem: string | Uint8Array) => typeof pem === "string" ? pem : Buffer.from(pem).toString("latin1")

const joined = (pem: string | Uint8Array | ReadonlyArray<string | Uint8Array>) => Arr.ensure(pem).map(text).join("\n")

const tlsOptions = (options: Socket.TlsUpgradeOptions): TlsOptions => ({
  servername: options.servername,
  key: options.key === undefined
    ? undefined
    : Redacted.make(Arr.ensure(options.key).map((key) => text(Redacted.value(key))).join("\n")),
  cert: options.cert === undefined ? undefined : joined(options.cert),
  ca: options.ca === undefined ? undefined : joined(options.ca),
  passphrase: options.passphrase,
  alpn: options.alpnProtocols,
  requestClientCertificate: options.requestCert,
  insecureSkipVerify: options.rejectUnauthorized === false
})

/**
 * A socket of Effect's over what `open` gives. As the interface demands, acquiring the reader opens it, and a write waits
 * until it is open.
 */
export const make = (open: Effect.Effect<SocketPeer, Socket.SocketError, Scope.Scope>): Socket.Socket => {
  const opened = Latch.makeUnsafe(false)
  let current: SocketPeer | undefined

  const whenOpen = (
    write: (peer: SocketPeer) => Effect.Effect<void, TcpError>
  ): Effect.Effect<void, Socket.SocketError> =>
    Effect.suspend(() =>
      current === undefined ? opened.whenOpen(whenOpen(write)) : Effect.mapError(write(current), writeError)
    )

  const reader = Effect.gen(function*() {
    const scope = yield* Effect.scope
    let peer = yield* open
    const use = (next: SocketPeer) => {
      current = peer = next
      opened.openUnsafe()
    }
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        if (current !== peer) return
        current = undefined
        opened.closeUnsafe()
      })
    )
    use(peer)
    return {
      pull: Effect.suspend(() => peer.readBatch).pipe(
        Effect.mapError(readError),
        Effect.filterOrElse(Arr.isReadonlyArrayNonEmpty, () => Effect.never)
      ),
      upgrade: (options: Socket.TlsUpgradeOptions = {}) =>
        Scope.provide(peer.upgradeTls(tlsOptions(options)), scope).pipe(
          Effect.mapError((cause) => fail(new Socket.SocketUpgradeError({ cause }))),
          Effect.map(use)
        )
    }
  })

  return Socket.make({
    reader,
    writer: Effect.acquireRelease(
      Effect.succeed<Socket.Writer>({
        write: (chunk) => whenOpen((peer) => Socket.isCloseEvent(chunk) ? peer.close : peer.write(chunk)),
        writeAll: (chunks) => whenOpen((peer) => peer.writeAll(chunks))
      }),
      () => Effect.suspend(() => current === undefined ? Effect.void : Effect.ignore(current.closeWrite))
    )
  })
}

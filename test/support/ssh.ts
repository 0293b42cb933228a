import * as Effect from "effect/Effect"
import * as NetAddress from "effect/net/NetAddress"
import * as Redacted from "effect/Redacted"
import * as SshServer from "../../examples/peers/sshServer.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as HostKeys from "../../src/services/HostKeys.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import * as SshAuth from "../../src/services/SshAuth.ts"
import type * as SshSettings from "../../src/services/SshSettings.ts"

export const secret = Redacted.make("correct horse")

/** An SSH server on the test's own network, and how to log in to it. */
export const sshServer = Effect.fnUntraced(function*(options: SshServer.SshServerOptions = {}) {
  const server = yield* SshServer.make({ password: Redacted.value(secret), ...options })
  const listener = yield* Listener.Listener
  const { accept, address } = yield* listener.bind({ host: "127.0.0.1", port: 0 })
  yield* accept.pipe(Effect.map(server.serve), Effect.forever, Effect.forkScoped)
  const settings: SshSettings.SshSettings = {
    host: "127.0.0.1",
    port: NetAddress.isInetAddress(address) ? address.port : 0,
    username: "demo",
    auth: SshAuth.password(secret),
    hostKeys: HostKeys.fingerprint(server.hostKeyFingerprint)
  }
  return { ...server, settings }
})

/** Connects over the test's own network. */
export const connect = (settings: SshSettings.SshSettings) =>
  Effect.flatMap(Dialer.Dialer, (dialer) => Ssh.make(dialer).connect(settings))

/** A server and a session with it. */
export const connected = Effect.fnUntraced(function*(options?: SshServer.SshServerOptions) {
  const server = yield* sshServer(options)
  return { server, session: yield* connect(server.settings) }
})

/** Waits, turn by turn of the event loop, until something is so. */
export const until = (isSo: () => boolean): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const check = () => isSo() ? resume(Effect.void) : void setImmediate(check)
    check()
  })

import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Dialer from "../../src/services/Dialer.ts"
import * as HostKeys from "../../src/services/HostKeys.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import * as SshAuth from "../../src/services/SshAuth.ts"
import type * as SshSettings from "../../src/services/SshSettings.ts"
import * as SshPeer from "./sshPeer.ts"

export const secret = Redacted.make("correct horse")

/** An SSH server on the test's own network, and how to log in to it. */
export const sshServer = Effect.fnUntraced(function*(options: SshPeer.SshServerOptions = {}) {
  const server = yield* SshPeer.listen({ password: Redacted.value(secret), ...options })
  const settings: SshSettings.SshSettings = {
    host: "127.0.0.1",
    port: server.port,
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
export const connected = Effect.fnUntraced(function*(options?: SshPeer.SshServerOptions) {
  const server = yield* sshServer(options)
  return { server, session: yield* connect(server.settings) }
})

/** Waits, turn by turn of the event loop, until something is so. */
export const until = (isSo: () => boolean): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const check = () => isSo() ? resume(Effect.void) : void setImmediate(check)
    check()
  })

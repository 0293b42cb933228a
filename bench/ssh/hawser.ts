/** Hawser's SSH client as the benchmarks use it: open until the process ends. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { Dialer, HostKeys, Ssh, SshAuth, type SshSession, type SshSettings } from "hawser"
import type { Address } from "../harness/benchmark.ts"
import { keyOf, knownHostsOf, portOf, username } from "./account.ts"

export const settingsOf = (address: Address): SshSettings.SshSettings => ({
  host: "127.0.0.1",
  port: portOf(address),
  username,
  auth: SshAuth.privateKey({ key: keyOf(address) }),
  hostKeys: HostKeys.knownHosts({ files: [knownHostsOf(address)] })
})

export const layer = Ssh.layer.pipe(Layer.provide(Dialer.layer))

/** A session that stays open. */
export const openSession = (address: Address): Promise<SshSession.SshSession> =>
  Effect.runPromise(
    Ssh.Ssh.use((ssh) => Scope.provide(ssh.connect(settingsOf(address)), Scope.makeUnsafe())).pipe(
      Effect.provide(layer)
    )
  )

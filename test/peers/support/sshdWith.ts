/** One more sshd, with the keys and the user of the first and settings of its own. */
import * as Effect from "effect/Effect"
import * as HostKeys from "../../../src/services/HostKeys.ts"
import type * as SshSettings from "../../../src/services/SshSettings.ts"
import { OpenSsh, sshSettings } from "./openssh.ts"
import { folder, services } from "./peer.ts"
import { runSshd } from "./sshd.ts"

/** Runs it for as long as the scope lives, and says how to log in to it. */
export const sshdWith = Effect.fnUntraced(function*(config: string, changes?: Partial<SshSettings.SshSettings>) {
  const { fingerprint, folder: keys } = yield* OpenSsh
  const directory = yield* folder("sshd")
  const sshd = yield* runSshd({
    directory,
    config: () => `HostKey ${keys}/host_ed25519\nAuthorizedKeysFile ${keys}/authorized_keys\n${config}\n`
  })
  const settings = yield* sshSettings({
    port: sshd.ports[0]!,
    hostKeys: HostKeys.fingerprint(fingerprint),
    ...changes
  })
  return { ...sshd, settings }
}, Effect.provide(services))

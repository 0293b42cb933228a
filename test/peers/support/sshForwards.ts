/** An sshd that forwards all there is, one that forwards nothing, and one that listens nowhere. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Dialer from "../../../src/services/Dialer.ts"
import * as HostKeys from "../../../src/services/HostKeys.ts"
import * as Ssh from "../../../src/services/Ssh.ts"
import * as SshAuth from "../../../src/services/SshAuth.ts"
import type * as SshSettings from "../../../src/services/SshSettings.ts"
import { loginUser } from "./loginUser.ts"
import { files, folder, services } from "./peer.ts"
import { runSshd, sshKeygen } from "./sshd.ts"

const config = (folder: string, [, nothing, nowhere]: ReadonlyArray<number>) => `
HostKey ${folder}/host
AuthorizedKeysFile ${folder}/authorized_keys
RekeyLimit 8M
Match LocalPort ${nothing}
  AllowTcpForwarding no
  AllowStreamLocalForwarding no
  AllowAgentForwarding no
Match LocalPort ${nowhere}
  PermitListen none
  PermitOpen none
`

const make = Effect.gen(function*() {
  const directory = yield* folder("ssh-forwards")
  const user = yield* loginUser
  const fs = yield* FileSystem.FileSystem
  const keygen = sshKeygen(directory)
  yield* Effect.forEach(
    ["host", "id"],
    (name) => keygen("-q", "-t", "ed25519", "-N", "", "-C", `the ${name}`, "-f", name)
  )
  yield* files(directory, { authorized_keys: yield* Effect.orDie(fs.readFileString(`${directory}/id.pub`)) })
  const fingerprint = /SHA256:\S+/.exec(yield* keygen("-l", "-f", "host.pub"))![0]
  const { ports: [all, nothing, nowhere], sessions } = yield* runSshd({
    directory,
    ports: 3,
    config: (ports) => config(directory, ports)
  })
  const ports = { all: all!, nothing: nothing!, nowhere: nowhere! }

  /** How to log in to the sshd that forwards this much. */
  const settings = (what: keyof typeof ports = "all"): SshSettings.SshSettings => ({
    host: "127.0.0.1",
    port: ports[what],
    username: user.username,
    auth: SshAuth.privateKey({ key: `${directory}/id` }),
    hostKeys: HostKeys.fingerprint(fingerprint)
  })

  /** Logs in to it. */
  const connect = (what: keyof typeof ports = "all", more: Partial<SshSettings.SshSettings> = {}) =>
    Effect.flatMap(Dialer.Dialer, (dialer) => Ssh.make(dialer).connect({ ...settings(what), ...more })).pipe(
      Effect.provide(Dialer.layer)
    )

  /** Kills the processes that serve a connection each: the one that watches over it, and the one that has it. */
  const kill = Effect.gen(function*() {
    for (const pid of yield* sessions) {
      const children = yield* Effect.orDie(fs.readFileString(`/proc/${pid}/task/${pid}/children`))
      for (const one of [pid, ...children.split(" ").filter((child) => child !== "").map(Number)]) {
        process.kill(one, "SIGKILL")
      }
    }
  })
  return { ...user, key: `${directory}/id`, settings, connect, kill }
})

export class SshForwards extends Context.Service<SshForwards, Effect.Success<typeof make>>()("test/peers/SshForwards") {
  static readonly layer = Layer.effect(this, make).pipe(Layer.provide(services))
}

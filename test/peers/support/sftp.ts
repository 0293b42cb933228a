/** OpenSSH's SFTP servers: the one inside sshd, the program of its own, and some that are none. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Dialer from "../../../src/services/Dialer.ts"
import * as HostKeys from "../../../src/services/HostKeys.ts"
import * as Ssh from "../../../src/services/Ssh.ts"
import * as SshAuth from "../../../src/services/SshAuth.ts"
import { loginUser } from "./loginUser.ts"
import { files, folder } from "./peer.ts"
import { runSshd, sshKeygen } from "./sshd.ts"

/** The programs that serve SFTP. */
export const servers = { "internal-sftp": "internal-sftp", "sftp-server": "/usr/lib/openssh/sftp-server" } as const

/** The processes below one, by name. */
const below = (pid: number, name: string): Effect.Effect<ReadonlyArray<number>, never, FileSystem.FileSystem> =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const text = yield* fs.readFileString(`/proc/${pid}/task/${pid}/children`)
    const children = text.split(" ").filter((child) => child !== "").map(Number)
    const found = yield* Effect.forEach(children, (child) => below(child, name))
    const own = (yield* fs.readFileString(`/proc/${pid}/comm`)).trim() === name ? [pid] : []
    return [...own, ...found.flat()]
  }).pipe(Effect.orElseSucceed(() => []))

/** An sshd with a subsystem line, and a session with it. */
export const sftpSession = Effect.fnUntraced(function*(subsystem: string, config = "") {
  const directory = yield* folder("sftp")
  const user = yield* loginUser
  const keygen = sshKeygen(directory)
  yield* keygen("-q", "-t", "ed25519", "-N", "", "-f", "host")
  yield* keygen("-q", "-t", "ed25519", "-N", "", "-f", "id")
  const fs = yield* FileSystem.FileSystem
  const publicKey = yield* Effect.orDie(fs.readFileString(`${directory}/id.pub`))
  yield* files(directory, { authorized_keys: publicKey })
  const fingerprint = /SHA256:\S+/.exec(yield* keygen("-l", "-f", "host.pub"))![0]
  const sshd = yield* runSshd({
    directory,
    config: () =>
      `HostKey ${directory}/host\nAuthorizedKeysFile ${directory}/authorized_keys\n${config}\n${
        subsystem === "" ? "Subsystem other /bin/false" : `Subsystem sftp ${subsystem}`
      }\n`
  })
  const session = yield* Ssh.make(yield* Dialer.Dialer).connect({
    host: "127.0.0.1",
    port: sshd.ports[0]!,
    username: user.username,
    auth: SshAuth.privateKey({ key: `${directory}/id` }),
    hostKeys: HostKeys.fingerprint(fingerprint)
  })
  return {
    ...user,
    session,
    /** Ends the processes with a name that serve the connection. It is one of them without privileges that holds it. */
    kill: Effect.fnUntraced(function*(name: "sshd" | "sftp-server") {
      for (const pid of yield* sshd.sessions) {
        for (const victim of yield* below(pid, name)) process.kill(victim, "SIGKILL")
      }
    })
  }
})

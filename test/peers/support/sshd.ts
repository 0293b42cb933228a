/** OpenSSH's sshd with any configuration, and its ssh-keygen. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type { ChildProcessHandle } from "effect/process/ChildProcessSpawner"
import { files, onFreePorts, run, services, start } from "./peer.ts"

// it starts itself again for each session and therefore wants its absolute path
const sshd = { command: "/usr/sbin/sshd", package: "openssh-server" }

/** Runs ssh-keygen in a folder. */
export const sshKeygen = (directory: string) => (...args: ReadonlyArray<string>) =>
  run({ command: "ssh-keygen", package: "openssh-client" }, args, { cwd: directory })

// sshd takes the first value of a setting, so these are defaults. UsePAM no: with PAM a wrong password costs three seconds.
// StrictModes no: the keys are in a temporary folder.
const defaults = `
ListenAddress 127.0.0.1
PidFile none
LogLevel VERBOSE
UsePAM no
StrictModes no
UseDNS no
PasswordAuthentication yes
KbdInteractiveAuthentication no
PubkeyAuthentication yes
MaxStartups 100:30:200
AllowTcpForwarding yes
AllowStreamLocalForwarding yes
PrintMotd no
PrintLastLog no
`

/** Unless a configuration has subsystems of its own: sshd does not take the same one twice. */
const subsystem = "Subsystem sftp internal-sftp\n"

/** The processes that serve a connection each. */
const sessionsOf = (pid: number) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const children = yield* fs.readFileString(`/proc/${pid}/task/${pid}/children`)
    return children.split(" ").filter((child) => /^\d+$/.test(child)).map(Number)
  }).pipe(Effect.orDie, Effect.provide(services))

// they outlive the listener, in process groups of their own
const stopSessions = (handle: ChildProcessHandle) =>
  Effect.map(sessionsOf(handle.pid), (pids) => pids.forEach((pid) => process.kill(pid, "SIGTERM"))).pipe(
    Effect.ignoreCause
  )

/** Settings of an sshd. */
export interface SshdOptions {
  /** Where its configuration is written to. */
  readonly directory: string
  /** How many ports it listens at. Default 1. */
  readonly ports?: number | undefined
  /** Its sshd_config without `Port`: host keys, `AuthorizedKeysFile`, ...; `Match` blocks may end it. */
  readonly config: (ports: ReadonlyArray<number>) => string
}

/** Runs an sshd on free ports of 127.0.0.1 for as long as the scope lives. */
export const runSshd = Effect.fnUntraced(function*({ config, directory, ports: count = 1 }: SshdOptions) {
  const fs = yield* FileSystem.FileSystem
  // privilege separation wants this folder, which is not there after a fresh boot
  yield* Effect.orDie(fs.makeDirectory("/run/sshd", { recursive: true, mode: 0o755 }))
  return yield* onFreePorts(count, (ports) =>
    Effect.gen(function*() {
      const [globals, ...matches] = config(ports).split(/^(?=Match )/m)
      const listen = ports.map((port) => `Port ${port}\n`).join("")
      const sftp = globals!.includes("Subsystem") ? "" : subsystem
      yield* files(directory, { sshd_config: `${globals}${listen}${defaults}${sftp}${matches.join("")}` })
      const { output, pid } = yield* start(sshd, {
        args: ["-D", "-e", "-f", `${directory}/sshd_config`],
        cwd: directory,
        ports,
        beforeStop: stopSessions
      })
      return {
        ports,
        pid,
        /** What it logged last. */
        output,
        /** The processes that serve a connection each. */
        sessions: sessionsOf(pid)
      }
    }))
})

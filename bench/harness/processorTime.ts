/** The processor time that a contender costs, including that of the commands it runs. */
import { readFileSync } from "node:fs"

/** A processor's time in `/proc` is in hundredths of a second, whatever the kernel's clock is. */
const tick = 0.01

/** The file, or nothing where the process is gone or the system has no such files. */
const read = (path: string): string => {
  try {
    return readFileSync(path, "latin1")
  } catch {
    return ""
  }
}

/** Of a process: its own time, and that of its children which have ended; proc_pid_stat(5), fields 14 to 17. */
const timesOf = (pid: number): { readonly own: number; readonly ended: number } => {
  const stat = read(`/proc/${pid}/stat`)
  // the second field is the name of the program, in brackets, and may have spaces and brackets itself
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ").map(Number)
  const [user = 0, system = 0, endedUser = 0, endedSystem = 0] = fields.slice(11, 15)
  return { own: (user + system) * tick, ended: (endedUser + endedSystem) * tick }
}

const childrenOf = (pid: number): ReadonlyArray<number> =>
  read(`/proc/${pid}/task/${pid}/children`).split(" ").filter((child) => child !== "").map(Number)

const ofChildren = (pid: number): number =>
  childrenOf(pid).reduce((sum, child) => sum + timesOf(child).own + ofChildren(child), timesOf(pid).ended)

/** Of this process and of all that it started, until now: user and system, in seconds. */
export const processorTime = (): number => {
  const { system, user } = process.cpuUsage()
  return (user + system) / 1e6 + ofChildren(process.pid)
}

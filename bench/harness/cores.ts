/** Which processors the measured process and its peer run on: one each, where the system lets us choose. */
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"

export interface Cores {
  readonly measured: number
  readonly peer: number
}

/** `0-2,5` as numbers. */
const parseList = (list: string) =>
  list.trim().split(",").flatMap((part) => {
    const [first = 0, last = first] = part.split("-").map(Number)
    return Array.from({ length: last - first + 1 }, (_, i) => first + i)
  })

const allowed = (): ReadonlyArray<number> => {
  try {
    const [, list] = /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync("/proc/self/status", "utf8")) ?? []
    return list === undefined ? [] : parseList(list)
  } catch {
    return []
  }
}

/** Two processors, or one for both, or why there are none. */
export const chooseCores = (same: boolean): Cores | string => {
  const [measured, second] = allowed()
  const peer = same ? measured : second
  if (measured === undefined || peer === undefined) return "fewer than two processors are known here"
  return spawnSync("taskset", ["-c", String(measured), "true"]).status === 0
    ? { measured, peer }
    : "taskset (of util-linux) is missing"
}

/** A command that runs on one processor only. */
export const pinned = (core: number | undefined, command: ReadonlyArray<string>): ReadonlyArray<string> =>
  core === undefined ? command : ["taskset", "-c", String(core), ...command]

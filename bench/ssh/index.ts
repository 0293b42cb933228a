/** The benchmarks of SSH, with both kinds of crypto that ssh2 has. */
import type { Benchmark, Group, Suite } from "../harness/benchmark.ts"
import { conditions, javaScript } from "./crypto.ts"
import exec from "./exec.ts"
import { missing } from "./openSsh.ts"
import receive from "./receive.ts"
import sftp from "./sftp.ts"

const suites: ReadonlyArray<Suite> = [exec, receive, sftp]

/** What the crypto decides. */
const names = new Set(["exec c=1", "connect exec", "stdout", "sftp get", "sftp put", "tunnel"])

const withoutTargets = (benchmark: Benchmark): Benchmark => ({
  ...benchmark,
  pairs: benchmark.pairs.map(({ baseline, contender }) => ({ contender, baseline }))
})

export const ssh: Group = { suites, missing, conditions }

/** The same with the crypto of those for whom the native one was not built. */
export const sshJavaScript: Group = {
  suites: suites.map(({ benchmarks, url }) => ({
    url,
    preload: javaScript,
    benchmarks: benchmarks.filter(({ name }) => names.has(name)).map(withoutTargets)
  })),
  missing,
  conditions: () => "ssh2 with crypto in JavaScript"
}

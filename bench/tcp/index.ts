/** The benchmarks of TCP, TLS and proxies. */
import type { Suite } from "../harness/benchmark.ts"
import bulkRead from "./bulkRead.ts"
import connect from "./connect.ts"
import pingPong from "./pingPong.ts"
import serverEcho from "./serverEcho.ts"

const suites: ReadonlyArray<Suite> = [pingPong, serverEcho, bulkRead, connect]

export default suites

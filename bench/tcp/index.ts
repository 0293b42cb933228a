/** The benchmarks of TCP, TLS and proxies. */
import type { Suite } from "../harness/benchmark.ts"
import bulk from "./bulk.ts"
import connect from "./connect.ts"
import idleMemory from "./idleMemory.ts"
import lines from "./lines.ts"
import pingPong from "./pingPong.ts"
import pipelined from "./pipelined.ts"
import proxy from "./proxy.ts"
import serverEcho from "./serverEcho.ts"
import tls from "./tls.ts"

const suites: ReadonlyArray<Suite> = [
  pingPong,
  serverEcho,
  pipelined,
  bulk,
  connect,
  lines,
  tls,
  proxy,
  idleMemory
]

export default suites

/** The benchmarks of gRPC. */
import type { Suite } from "../harness/benchmark.ts"
import calls from "./calls.ts"

const suites: ReadonlyArray<Suite> = [calls]

export default suites

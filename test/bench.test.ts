import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import grpc from "../bench/grpc/index.ts"
import type { Benchmark } from "../bench/harness/benchmark.ts"
import { measure } from "../bench/harness/measure.ts"
import { ssh, sshJavaScript } from "../bench/ssh/index.ts"
import tcp from "../bench/tcp/index.ts"
import refused from "./support/refusedBenchmarks.ts"

const root = fileURLToPath(new URL("..", import.meta.url))

/** Runs the benchmarks as `npm run bench` does, but of the sources. */
const run = (...args: ReadonlyArray<string>) =>
  promisify(execFile)(process.execPath, ["--import", "./test/support/source.ts", "bench/run.ts", ...args], {
    cwd: root,
    encoding: "utf8"
  })

interface Result {
  readonly group: string
  readonly name: string
  readonly contender: string
  readonly baseline: string
  readonly ratio: number
  readonly rounds: number
  readonly ratios: ReadonlyArray<number>
}

/** What a quick run of a group finds, or of some of its benchmarks. */
const measured = async (group: string, rounds: number, names: ReadonlyArray<string>) => {
  const folder = mkdtempSync(join(tmpdir(), "bench-"))
  try {
    const file = join(folder, "results.json")
    const chosen = names.flatMap((name) => ["--name", name])
    const quick = ["--only", group, "--rounds", String(rounds), "--time", "20", ...chosen]
    const { stdout } = await run(...quick, "--json", file)
    const results: ReadonlyArray<Result> = JSON.parse(readFileSync(file, "utf8"))
    return { results, stdout }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const pairOf = ({ baseline, contender, group, name }: Result) => ({ group, name, contender, baseline })

/** Which pairs are to be found in the results of some benchmarks. */
const pairsOf = (group: string, benchmarks: ReadonlyArray<Benchmark>) =>
  benchmarks.flatMap(({ name, pairs }) =>
    pairs.map(({ baseline, contender }) => ({ group, name, contender, baseline }))
  )

/** Why a benchmark of the refused suite is not measured. */
const refusal = async (name: string): Promise<string> => {
  const benchmark = refused.benchmarks.find((benchmark) => benchmark.name === name)
  assert.isDefined(benchmark)
  return measure(refused, benchmark, { rounds: 1, milliseconds: 50, cores: undefined })
    .then(() => assert.fail("it was measured"), String)
}

const benchmarks = tcp.flatMap((suite) => suite.benchmarks)
const groups = [
  benchmarks,
  ...[ssh, sshJavaScript, { suites: grpc }].map((group) => group.suites.flatMap((suite) => suite.benchmarks))
]

describe("bench", () => {
  it("writes for each pair the median of the ratios of the rounds", { timeout: 120_000 }, async () => {
    const names = ["ping-pong c=64", "connect server"]
    const { results, stdout } = await measured("tcp", 3, names)
    assert.deepEqual(results.map(pairOf), pairsOf("tcp", benchmarks.filter(({ name }) => names.includes(name))))
    for (const { name, ratio, ratios, rounds } of results) {
      assert.strictEqual(rounds, 3, name)
      assert.strictEqual(ratio, ratios.toSorted((a, b) => a - b)[1], name)
      assert.isTrue(ratios.every((ratio) => ratio > 0 && Number.isFinite(ratio)), name)
      assert.include(stdout, name)
    }
  })

  it("measures gRPC's clients, which all get the same answers", { timeout: 240_000 }, async () => {
    const benchmarks = grpc.flatMap((suite) => suite.benchmarks).filter(({ name }) => name !== "unary c=1")
    const { results } = await measured("grpc", 1, benchmarks.map(({ name }) => name))
    assert.deepEqual(results.map(pairOf), pairsOf("grpc", benchmarks))
    for (const { name, ratio } of results) assert.isTrue(ratio > 0 && Number.isFinite(ratio), name)
  })

  it("compares only contenders that there are, and names no benchmark twice", () => {
    for (const benchmarks of groups) {
      for (const { contenders, name, pairs } of benchmarks) {
        for (const { baseline, contender } of pairs) {
          assert.containsAllKeys(contenders, [baseline, contender], name)
        }
      }
      assert.lengthOf(new Set(benchmarks.map(({ name }) => name)), benchmarks.length)
    }
  })

  it("the README has a row for each target", () => {
    const readme = readFileSync(`${root}bench/README.md`, "utf8")
    const rows = [...readme.matchAll(/^\| `([^`]+)` +\| `([^`]+)` +\| `([^`]+)` +\| ([\d.]+) /gm)]
      .map(([, name, contender, baseline, target]) => ({ name, contender, baseline, atLeast: Number(target) }))
    const targets = groups.flat().flatMap(({ name, pairs }) =>
      pairs.flatMap(({ atLeast, baseline, contender }) =>
        atLeast === undefined ? [] : [{ name, contender, baseline, atLeast }]
      )
    )
    assert.deepEqual(rows, targets)
  })

  it("does not time contenders that give different answers", async () => {
    assert.match(await refusal("counting"), /do not agree: honest: 3 done, .*; lazy: 2 done, /)
  })

  it("counts no round that a contender ends before its time", async () => {
    assert.match(await refusal("at once"), /hasty stopped before the round was over/)
  })

  it("says what to install where there is no OpenSSH", async () => {
    const error: { readonly code: number; readonly stdout: string } = await promisify(execFile)(
      process.execPath,
      ["--import", "./test/support/source.ts", "bench/run.ts", "--only", "ssh"],
      { cwd: root, encoding: "utf8", env: { PATH: "/nonexistent" } }
    ).then(() => assert.fail("it ran"), (cause) => cause)
    assert.strictEqual(error.code, 1)
    assert.match(error.stdout, /^ssh is skipped: .*apt-get install openssh-client openssh-server/m)
  })

  it("refuses a group that there is not", async () => {
    const error: { readonly code: number; readonly stderr: string } = await run("--only", "udp").then(
      () => assert.fail("it ran"),
      (cause) => cause
    )
    assert.strictEqual(error.code, 2)
    assert.include(error.stderr, "no group udp")
  })
})

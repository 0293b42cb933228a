/**
 * Measures Hawser against what it is built on and what people use instead: `npm run bench -- --help`.
 *
 * How it works, what is measured and what came of it is in `README.md`.
 */
import { writeFileSync } from "node:fs"
import { parseArgs } from "node:util"
import grpc from "./grpc/index.ts"
import type { Group } from "./harness/benchmark.ts"
import { chooseCores } from "./harness/cores.ts"
import { measure, type Plan } from "./harness/measure.ts"
import { heading, type Result, resultsOf, table } from "./harness/report.ts"
import { ssh, sshJavaScript } from "./ssh/index.ts"
import tcp from "./tcp/index.ts"

const groups: Readonly<Record<string, Group>> = {
  tcp: { suites: tcp },
  ssh,
  "ssh-js": sshJavaScript,
  grpc: { suites: grpc }
}

const help = `node bench/run.ts [options]

  --only GROUP    ${Object.keys(groups).join(", ")}; may be repeated (default: all)
  --name NAME     only benchmarks whose name contains this; may be repeated
  --rounds N      how many rounds (default 20)
  --time MS       how long each contender works in each round (default 250)
  --quick         5 rounds of 100 ms: a first impression
  --same-core     both sides on one processor, which is then never idle: see README.md
  --json FILE     write the ratio of each pair, with its rounds and costs; above 1: the contender is faster
  --list          only say what there is
`

const { values } = parseArgs({
  options: {
    only: { type: "string", multiple: true },
    name: { type: "string", multiple: true },
    rounds: { type: "string" },
    time: { type: "string" },
    quick: { type: "boolean", default: false },
    "same-core": { type: "boolean", default: false },
    json: { type: "string" },
    list: { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
})

const unknown = values.only?.filter((group) => !(group in groups)) ?? []
const chosen = Object.entries(groups)
  .filter(([name]) => values.only === undefined || values.only.includes(name))
  .map(([name, group]) => ({
    name,
    group,
    work: group.suites.flatMap((suite) =>
      suite.benchmarks
        .filter(({ name }) => values.name === undefined || values.name.some((part) => name.includes(part)))
        .map((benchmark) => ({ suite, benchmark }))
    )
  }))
  .filter(({ work }) => work.length > 0)

const run = async () => {
  const cores = chooseCores(values["same-core"])
  const plan: Plan = {
    rounds: Number(values.rounds ?? (values.quick ? 5 : 20)),
    milliseconds: Number(values.time ?? (values.quick ? 100 : 250)),
    cores: typeof cores === "string" ? undefined : cores
  }
  console.log(`node ${process.version}, ${plan.rounds} rounds of ${plan.milliseconds} ms`)
  console.log(
    typeof cores === "string"
      ? `not pinned to processors: ${cores}`
      : `measured processes on processor ${cores.measured}, their peers on ${cores.peer}`
  )
  const results: Array<Result> = []
  for (const { group, name, work } of chosen) {
    const conditions = group.conditions?.()
    const missing = group.missing?.()
    console.log(`\n${conditions === undefined ? name : `${name}: ${conditions}`}`)
    if (missing !== undefined) {
      process.exitCode = 1
      console.log(`${name} is skipped: ${missing}`)
      continue
    }
    console.log(heading)
    for (const { benchmark, suite } of work) {
      try {
        const samples = await measure(suite, benchmark, plan)
        const found = resultsOf(name, benchmark, samples)
        results.push(...found)
        for (const line of table(benchmark, found, samples)) console.log(line)
      } catch (cause) {
        process.exitCode = 1
        console.log(`${benchmark.name}: ${cause instanceof Error ? cause.message : String(cause)}`)
      }
    }
  }
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(results, undefined, 2)}\n`)
}

if (values.help) {
  console.log(help)
} else if (unknown.length > 0 || chosen.length === 0) {
  console.error(unknown.length > 0 ? `no group ${unknown.join(", ")}\n\n${help}` : "no benchmark has such a name")
  process.exitCode = 2
} else if (values.list) {
  for (const { name, work } of chosen) {
    for (const { benchmark } of work) console.log(`${name}: ${benchmark.name}`)
  }
} else {
  await run()
}

import { assert, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
// inside the project, so that its packages are found
const folder = join(root, "node_modules/.cache/documentation")

/** The examples in the doc comments of a file. */
const examples = (file: string) =>
  [...readFileSync(join(root, file), "utf8").matchAll(/^ *\* ```ts\n([\s\S]*?)^ *\* ```$/gm)].map(
    ([, code = ""]) => code.replace(/^ *\* ?/gm, "")
  )

describe("documentation", () => {
  it("the examples in doc comments compile, and every public module has one", { timeout: 60_000 }, () => {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
    const modules = globSync("src/{errors,services,layers,testing}/*.ts", { cwd: root })
    for (const file of modules) {
      const found = examples(file)
      if (!/index\.ts$|TlsConfigError\.ts$/.test(file)) assert.isAbove(found.length, 0, file)
      const name = file.replace(/^src\/(.*)\.ts$/, "$1").replaceAll("/", "-")
      for (const [index, code] of found.entries()) writeFileSync(join(folder, `${name}-${index}.ts`), code)
    }
    writeFileSync(
      join(folder, "tsconfig.json"),
      JSON.stringify({
        extends: join(root, "tsconfig.json"),
        compilerOptions: {
          noUnusedLocals: false,
          types: ["node"],
          paths: { "hawser": [join(root, "src/index.ts")], "hawser/testing": [join(root, "src/testing/index.ts")] }
        },
        include: ["*.ts"]
      })
    )
    const { status, stdout } = spawnSync(join(root, "node_modules/.bin/tsc"), ["-p", folder], { encoding: "utf8" })
    assert.strictEqual(stdout, "")
    assert.strictEqual(status, 0)
    rmSync(folder, { recursive: true, force: true })
  })
})

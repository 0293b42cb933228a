import { assert, describe, it } from "@effect/vitest"
import { globSync, readFileSync } from "node:fs"
import { dirname, join, normalize } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const read = (path: string) => readFileSync(join(root, path), "utf8")
const files = globSync("src/**/*.ts", { cwd: root }).toSorted()

interface Import {
  readonly from: string
  readonly to: string
  readonly typeOnly: boolean
}

const imports: ReadonlyArray<Import> = files.flatMap((from) =>
  [...read(from).matchAll(/^(?:import|export)(\s+type)?[^;]*?from "([^"]+)"/gm)].map(([, type, to = ""]) => ({
    from,
    to: to.startsWith(".") ? normalize(join(dirname(from), to)) : to,
    typeOnly: type !== undefined
  }))
)

/** Each folder may import from itself and from those before it. */
const order = ["errors", "internal", "services", "layers", "testing", "index.ts"]
const rank = (path: string) => order.indexOf(path.split("/")[1] ?? "")

describe("architecture", () => {
  it("imports point one way", () => {
    const wrong = imports.filter(({ from, to }) => to.startsWith("src/") && rank(to) > rank(from))
    assert.deepEqual(wrong, [])
    assert.isTrue(files.every((file) => rank(file) >= 0))
  })

  it("the libraries below are imported in src/internal only", () => {
    const below = /^(node:(net|tls|dns|http2?|https)|socks|ssh2|@grpc\/.*|protobufjs.*|iconv-lite)$/
    const wrong = imports.filter(({ from, to }) => below.test(to) && !from.startsWith("src/internal/"))
    assert.deepEqual(wrong, [])
    assert.isTrue(imports.some(({ to }) => to === "ssh2"))
  })

  it("every public module is an entry of the package and a name of the index", () => {
    const modules = files
      .filter((file) => /^src\/(errors|services|layers)\//.test(file))
      .map((file) => file.replace(/^.*\/(\w+)\.ts$/, "$1"))
      .toSorted()
    const manifest: { readonly exports: Record<string, string | null> } = JSON.parse(read("package.json"))
    const entries = Object.keys(manifest.exports)
      .filter((entry) => /^\.\/[A-Z]/.test(entry))
      .map((entry) => entry.slice(2))
      .toSorted()
    const names = [...read("src/index.ts").matchAll(/export \* as (\w+)/g)].map(([, name = ""]) => name)
    assert.deepEqual(entries, modules)
    assert.sameMembers(names, modules)
    for (const name of modules) {
      const source = files.find((file) => file.endsWith(`/${name}.ts`) && !file.startsWith("src/internal/")) ?? ""
      assert.strictEqual(manifest.exports[`./${name}`], source.replace("src", "./dist").replace(/\.ts$/, ".js"))
    }
    assert.isNull(manifest.exports["./internal/*"])
  })

  it("every file of a public module says since when it is there, and every export too", () => {
    for (const file of files.filter((file) => /^src\/(errors|services|layers|testing)\//.test(file))) {
      const text = read(file)
      const exports = text.match(/^export (?!type \{|\* as|\{)/gm)?.length ?? 0
      const documented = text.match(/@since \d/g)?.length ?? 0
      const internal = text.match(/@internal/g)?.length ?? 0
      assert.isAtLeast(documented + internal, exports + 1, file)
    }
  })
})

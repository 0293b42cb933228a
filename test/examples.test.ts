import { assert, describe, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))

/** Runs an example as a reader would, with a plain `node`. */
const run = (example: string) =>
  execFileSync(process.execPath, ["--import", "./test/support/source.ts", example], {
    cwd: root,
    encoding: "utf8",
    timeout: 30_000
  })

describe("examples", () => {
  it("quickstart.ts echoes", () => {
    assert.strictEqual(run("examples/quickstart.ts"), "hello\n\n")
  })

  it("test-network.ts runs a server and a client in memory, and breaks their connection", () => {
    assert.strictEqual(run("examples/test-network.ts"), "HELLO\n\nReset\n")
  })

  it("grpc.ts serves and calls, as the README says", () => {
    const readme = readFileSync(`${root}README.md`, "utf8")
    const output = run("examples/grpc.ts")
    assert.include(readme, `It prints:\n\n\`\`\`\n${output}\`\`\``)
    assert.include(output, "InvalidArgument")
  })

  it("the README's table of errors names every reason", () => {
    const readme = readFileSync(`${root}README.md`, "utf8")
    const rows = [...readme.matchAll(/^\| `(\w+Error)` +\|.*$/gm)]
    assert.deepEqual(rows.map(([, name]) => name), [
      "DialError",
      "TcpError",
      "SshError",
      "GrpcError",
      "GrpcSchemaError",
      "TlsConfigError"
    ])
    for (const [row, name] of rows) {
      const source = readFileSync(`${root}src/errors/${name}.ts`, "utf8")
      const reasons = [...source.matchAll(/^export class (\w+)/gm)].map(([, reason]) => reason)
      for (const reason of reasons) assert.include(row, `\`${reason}\``)
    }
  })

  for (const document of ["README.md", "docs/grpc.md", "docs/ssh.md", "docs/testing.md"]) {
    it(`${document} shows the examples as they are`, () => {
      const text = readFileSync(`${root}${document}`, "utf8")
      const shown = [...text.matchAll(/<!-- (examples\/\S+) -->\n\n```ts\n([\s\S]*?)```\n/g)]
      assert.strictEqual(shown.length, text.split("```ts\n").length - 1)
      for (const [, file, code] of shown) {
        assert.strictEqual(code, readFileSync(`${root}${file}`, "utf8"), file)
      }
    })
  }
})

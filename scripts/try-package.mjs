// Tries the packed package as its users get it: packs it, installs the tarball and its peers into an empty project,
// checks types with every declaration included, imports each entry point, and runs a program.
import { spawnSync } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const { devDependencies, exports, name } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
const project = mkdtempSync(join(tmpdir(), `try-${name}-`))
process.on("exit", () => rmSync(project, { recursive: true, force: true }))

const run = (cwd, command, ...args) => {
  const { error, status, stderr, stdout } = spawnSync(command, args, { cwd, encoding: "utf8" })
  if (status === 0) return stdout.trim()
  throw new Error(`${command} ${args.join(" ")} failed`, { cause: error ?? `${stdout}${stderr}` })
}

const entries = Object.keys(exports)
  .filter((entry) => entry !== "./package.json" && exports[entry] !== null)
  .map((entry) => `${name}${entry.slice(1)}`)

// one program, as TypeScript that is compiled and as JavaScript that runs as it is
const program = `
import { Effect, Layer } from "effect"
import { Dialer, Listener, TcpClient, TcpServer } from "${name}"

const echo = Effect.gen(function*() {
  const server = yield* TcpServer.TcpServer
  const client = yield* TcpClient.TcpClient
  yield* Effect.forkScoped(server.serve((connection) =>
    Effect.flatMap(connection.readLine(), (line) => connection.write(\`echo: \${line}\\n\`))
  ))
  return yield* client.requestString(server.address, "hello\\n")
}).pipe(
  Effect.scoped,
  Effect.provide(Layer.mergeAll(
    TcpClient.layer.pipe(Layer.provide(Dialer.layer)),
    TcpServer.layer({ port: 0 }).pipe(Layer.provide(Listener.layer))
  ))
)

console.log(await Effect.runPromise(echo))
`
const files = {
  "package.json": JSON.stringify({ name: `try-${name}`, version: "1.0.0", private: true, type: "module" }),
  "tsconfig.json": JSON.stringify({
    compilerOptions: {
      target: "ES2023",
      module: "NodeNext",
      strict: true,
      exactOptionalPropertyTypes: true,
      outDir: "out",
      types: ["node"]
    },
    include: ["*.ts"]
  }),
  "main.ts": program,
  "entries.ts": entries.map((entry, i) => `export * as entry${i} from "${entry}"`).join("\n"),
  "main.mjs": program,
  "entries.mjs": entries.map((entry) => `import "${entry}"`).join("\n")
}
for (const [file, content] of Object.entries(files)) writeFileSync(join(project, file), content)

run(root, "npm", "pack", "--silent", "--pack-destination", project)
const filename = readdirSync(project).find((file) => file.endsWith(".tgz"))
const peers = ["effect", "@effect/platform-node", "typescript", "@types/node"]
  .map((peer) => `${peer}@${devDependencies[peer]}`)
run(project, "npm", "install", "--prefer-offline", "--no-audit", "--no-fund", `./${filename}`, ...peers)

run(project, "npx", "--no-install", "tsc")
run(project, process.execPath, "entries.mjs")
for (const main of ["out/main.js", "main.mjs"]) {
  const said = run(project, process.execPath, main)
  if (said !== "echo: hello") throw new Error(`${main} printed ${JSON.stringify(said)}`)
}
process.stdout.write(`${filename}: ${entries.length} entry points, types and programs work\n`)

// ssh2's optional native crypto is compiled for the Node that ran npm. Inside this checkout scripts run on the `node`
// package instead, where that binary does not load and ssh2 falls back to JavaScript without a word. This rebuilds it
// with the headers that package brings, and says which of the two is in use. It never fails an install.
// Headers of 24.19 and later give every native object a hook whose removal, when the object is collected, ends the
// process; the rebuild leaves the hook out. (Where it is compiled in, the library does not let ssh2 use the binary.)
import { spawnSync } from "node:child_process"
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const node = `${root}node_modules/.bin/node`
const headers = `${root}node_modules/node/node_modules/node-${process.platform}-${process.arch}`
const binding = "ssh2/lib/protocol/crypto/build/Release/sshcrypto.node"
const usable = () =>
  spawnSync(node, ["-e", `require("${binding}")`], { cwd: root, stdio: "ignore" }).status === 0 &&
  !readFileSync(`${root}node_modules/${binding}`).includes("RemoveEnvironmentCleanupHook")

if (existsSync(node) && existsSync(`${root}node_modules/ssh2`)) {
  if (!usable() && existsSync(`${headers}/include/node/node.h`)) {
    const nodedir = mkdtempSync(join(tmpdir(), "node-headers-"))
    cpSync(`${headers}/include`, `${nodedir}/include`, { recursive: true })
    const objectWrap = `${nodedir}/include/node/node_object_wrap.h`
    writeFileSync(objectWrap, readFileSync(objectWrap, "utf8").replace(/^ *(Add|Remove)CleanupHook\(\);$/gm, ""))
    spawnSync("npm", ["rebuild", "ssh2", "cpu-features"], {
      cwd: root,
      stdio: "ignore",
      env: {
        ...process.env,
        PATH: `${root}node_modules/.bin:${process.env.PATH}`,
        npm_config_nodedir: nodedir,
        npm_config_ignore_scripts: "false"
      }
    })
    rmSync(nodedir, { recursive: true, force: true })
  }
  process.stdout.write(
    usable()
      ? "ssh2: native crypto is built for the project's Node\n"
      : "ssh2: native crypto could not be built (it needs python3, make and a C++ compiler); SSH uses the JavaScript path, slower and otherwise the same\n"
  )
}

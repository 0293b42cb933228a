// ssh2's optional native crypto is compiled for the Node that ran npm. Inside this checkout scripts run on the `node`
// package instead, where that binary does not load and ssh2 falls back to JavaScript without a word. This rebuilds it
// with the headers that package brings, and says which of the two is in use. It never fails an install.
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const node = `${root}node_modules/.bin/node`
const headers = `${root}node_modules/node/node_modules/node-${process.platform}-${process.arch}`
const binding = "ssh2/lib/protocol/crypto/build/Release/sshcrypto.node"
const loads = () => spawnSync(node, ["-e", `require("${binding}")`], { cwd: root, stdio: "ignore" }).status === 0

if (existsSync(node) && existsSync(`${root}node_modules/ssh2`)) {
  if (!loads() && existsSync(`${headers}/include/node/node.h`)) {
    spawnSync("npm", ["rebuild", "ssh2", "cpu-features"], {
      cwd: root,
      stdio: "ignore",
      env: {
        ...process.env,
        PATH: `${root}node_modules/.bin:${process.env.PATH}`,
        npm_config_nodedir: headers,
        npm_config_ignore_scripts: "false"
      }
    })
  }
  process.stdout.write(
    loads()
      ? "ssh2: native crypto is built for the project's Node\n"
      : "ssh2: native crypto could not be built (it needs python3, make and a C++ compiler); SSH uses the JavaScript path, slower and otherwise the same\n"
  )
}

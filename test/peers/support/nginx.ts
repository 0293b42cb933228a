/** nginx as a proxy for TCP, with the servers that a test wants. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import { files, folder, onFreePorts, PeerError, start } from "./peer.ts"

const program = { command: "/usr/sbin/nginx", package: "nginx libnginx-mod-stream" }
const streamModule = "/usr/lib/nginx/modules/ngx_stream_module.so"

// without its `ssl_protocols` it speaks no TLS 1.3 here
const config = (folder: string, servers: string) => `
load_module ${streamModule};
daemon off;
master_process off;
pid ${folder}/nginx.pid;
error_log stderr warn;
events { worker_connections 256; }
stream {
  ssl_protocols TLSv1.2 TLSv1.3;
${servers}
}
`

/** Starts one with `servers` in its `stream` block, which listen on that many free ports of 127.0.0.1; gives the ports. */
export const nginx = Effect.fnUntraced(function*(count: number, servers: (ports: ReadonlyArray<number>) => string) {
  const fs = yield* FileSystem.FileSystem
  const directory = yield* folder("nginx")
  if (!(yield* Effect.orDie(fs.exists(streamModule)))) {
    return yield* new PeerError({
      peer: program.command,
      detail: `its module for TCP is not installed; on Debian: apt-get install ${program.package}`,
      output: ""
    })
  }
  return yield* onFreePorts(count, (ports) =>
    Effect.gen(function*() {
      yield* files(directory, { "nginx.conf": config(directory, servers(ports)) })
      yield* start(program, {
        args: ["-p", directory, "-c", `${directory}/nginx.conf`, "-e", "stderr"],
        cwd: directory,
        ports
      })
      return ports
    }))
})

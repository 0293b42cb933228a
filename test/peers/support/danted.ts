/**
 * Dante's SOCKS server: one without authentication (SOCKS5 and SOCKS4), one that wants a user of the system, one that is
 * reached over IPv6 and connects to IPv6 addresses.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { rawServer } from "../../support/servers.ts"
import { loginUser } from "./loginUser.ts"
import { files, folder, onFreePorts, services, start } from "./peer.ts"

const danted = { command: "/usr/sbin/danted", package: "dante-server" }

const config = (port: number, method: "none" | "username", forbiddenPort: number) => `
logoutput: stderr
internal: 127.0.0.1 port = ${port}
external: 127.0.0.1
clientmethod: none
socksmethod: ${method}
user.privileged: root
user.unprivileged: nobody
client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
socks block { from: 0.0.0.0/0 to: 127.0.0.1/32 port = ${forbiddenPort} log: error }
socks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 protocol: tcp udp }
`

const families = ["0.0.0.0/0", "::/0"]

/** It takes one rule for each pair of families. */
const config6 = (port: number) => `
logoutput: stderr
internal: ::1 port = ${port}
internal: 127.0.0.1 port = ${port}
external: lo
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
${families.map((from) => `client pass { from: ${from} to: ${from} }`).join("\n")}
${families.flatMap((from) => families.map((to) => `socks pass { from: ${from} to: ${to} }`)).join("\n")}
`

const make = Effect.gen(function*() {
  const directory = yield* folder("danted")
  const { password, username } = yield* loginUser
  // held, or else it may become the port of another peer
  const { port: forbiddenPort } = yield* rawServer()
  const serve = (name: string, config: (port: number) => string) =>
    onFreePorts(1, ([port]) =>
      Effect.gen(function*() {
        yield* files(directory, { [name]: config(port!) })
        yield* start(danted, { args: ["-f", `${directory}/${name}`], cwd: directory, ports: [port!] })
        return port!
      }))
  return {
    host: "127.0.0.1",
    port: yield* serve("none", (port) => config(port, "none", forbiddenPort)),
    authPort: yield* serve("username", (port) => config(port, "username", forbiddenPort)),
    port6: yield* serve("six", config6),
    forbiddenPort,
    username,
    password
  }
})

/** Three running danted. `forbiddenPort` is a target that the first two refuse, where a server listens. */
export class Danted extends Context.Service<Danted, Effect.Success<typeof make>>()("test/peers/Danted") {
  static readonly layer = Layer.effect(this, make).pipe(Layer.provide(services))
}

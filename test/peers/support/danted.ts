/** Dante's SOCKS server: one without authentication (SOCKS5 and SOCKS4), one that wants a user of the system. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { loginUser } from "./loginUser.ts"
import { files, folder, freePorts, onFreePorts, services, start } from "./peer.ts"

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

const make = Effect.gen(function*() {
  const directory = yield* folder("danted")
  const { password, username } = yield* loginUser
  const [forbiddenPort] = yield* freePorts(1)
  const serve = (method: "none" | "username") =>
    onFreePorts(1, ([port]) =>
      Effect.gen(function*() {
        const name = `${method}.conf`
        yield* files(directory, { [name]: config(port!, method, forbiddenPort!) })
        yield* start(danted, { args: ["-f", `${directory}/${name}`], cwd: directory, ports: [port!] })
        return port!
      }))
  return {
    host: "127.0.0.1",
    port: yield* serve("none"),
    authPort: yield* serve("username"),
    forbiddenPort: forbiddenPort!,
    username,
    password
  }
})

/** Two running danted. `forbiddenPort` is a target that they refuse. */
export class Danted extends Context.Service<Danted, Effect.Success<typeof make>>()("test/peers/Danted") {
  static readonly layer = Layer.effect(this, make).pipe(Layer.provide(services))
}

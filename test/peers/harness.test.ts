import { assert, describe, it, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Net from "node:net"
import { closedPort, rawServer } from "../support/servers.ts"
import { Danted } from "./support/danted.ts"
import { Etcd } from "./support/etcd.ts"
import { OpenSsh } from "./support/openssh.ts"
import { onFreePorts, services, start } from "./support/peer.ts"
import { Redis } from "./support/redis.ts"
import { Squid } from "./support/squid.ts"

const ask = (port: number, question: string) =>
  Effect.acquireUseRelease(
    Effect.sync(() =>
      Net.connect(port, "127.0.0.1", function(this: Net.Socket) {
        this.write(question, "latin1")
      })
    ),
    (socket) =>
      Effect.callback<string, Error>((resume) => {
        socket.once("data", (data) => resume(Effect.succeed(data.toString("latin1"))))
        socket.once("error", (error) => resume(Effect.fail(error)))
        socket.once("end", () => resume(Effect.succeed("")))
      }),
    (socket) => Effect.sync(() => socket.destroy())
  )

const peers = Layer.mergeAll(Danted.layer, Etcd.layer, OpenSsh.layer, Redis.layer, Squid.layer)

layer(peers, { excludeTestServices: true, timeout: "60 seconds" })("peers", (it) => {
  it.effect("sshd says what it is", () =>
    Effect.gen(function*() {
      assert.match(yield* ask((yield* OpenSsh).port, "SSH-2.0-x\r\n"), /^SSH-2.0-OpenSSH/)
    }))
  it.effect("redis wants a password", () =>
    Effect.gen(function*() {
      assert.match(yield* ask((yield* Redis).port, "PING\r\n"), /^-NOAUTH/)
    }))
  it.effect("squid wants credentials on one port and none on the other", () =>
    Effect.gen(function*() {
      const squid = yield* Squid
      const redis = yield* Redis
      const connect = `CONNECT 127.0.0.1:${redis.port} HTTP/1.1\r\n\r\n`
      assert.match(yield* ask(squid.port, connect), /^HTTP\/1.1 407/)
      assert.match(yield* ask(squid.openPort, connect), /^HTTP\/1.1 200/)
    }))
  it.effect("danted speaks SOCKS5", () =>
    Effect.gen(function*() {
      const danted = yield* Danted
      assert.strictEqual(yield* ask(danted.port, "\x05\x01\x00"), "\x05\x00")
      assert.strictEqual(yield* ask(danted.authPort, "\x05\x01\x02"), "\x05\x02")
    }))
  it.effect("etcd speaks HTTP/2", () =>
    Effect.gen(function*() {
      const answer = yield* ask((yield* Etcd).port, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
      assert.strictEqual(answer[3], "\x04")
    }))
})

describe("harness", () => {
  it.live("leaves nothing listening", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(peers, scope)
      const ports = yield* Effect.gen(function*() {
        return [
          (yield* OpenSsh).port,
          (yield* Redis).port,
          (yield* Squid).port,
          (yield* Danted).port,
          (yield* Etcd).port
        ]
      }).pipe(Effect.provideContext(context))
      yield* Scope.close(scope, Exit.void)
      for (const port of ports) {
        const result = yield* Effect.flip(ask(port, ""))
        assert.include(result.message, "ECONNREFUSED")
      }
    }))

  it.live("says which package brings a program that is missing", () =>
    Effect.gen(function*() {
      const missing = { command: "no-such-server", package: "no-such-package" }
      const error = yield* Effect.flip(start(missing, { args: [], cwd: "/", ports: [] }))
      assert.include(error.message, "apt-get install no-such-package")
    }).pipe(Effect.provide(services)))

  it.live("shows what a server printed that ends instead of listening", () =>
    Effect.gen(function*() {
      const sh = { command: "sh", package: "dash" }
      const closed = yield* closedPort
      const error = yield* Effect.flip(
        start(sh, { args: ["-c", "echo no such setting >&2; exit 3"], cwd: "/", ports: [closed] })
      )
      assert.include(error.detail, "3")
      assert.include(error.output, "no such setting")
    }).pipe(Effect.provide(services)))

  it.live("does not take somebody else's server for the one that it starts", () =>
    Effect.gen(function*() {
      const { port, sockets } = yield* rawServer()
      const sh = { command: "sh", package: "dash" }
      const error = yield* Effect.flip(start(sh, { args: ["-c", "sleep 0.2; exit 3"], cwd: "/", ports: [port] }))
      assert.include(error.detail, "ended at once (3)")
      assert.strictEqual(sockets.size, 0)
    }).pipe(Effect.provide(services)))

  it.live("kills a server that does not stop when it is told to", () =>
    Effect.gen(function*() {
      const sh = { command: "sh", package: "dash" }
      const pid = yield* Effect.scoped(
        Effect.map(start(sh, { args: ["-c", "trap '' TERM; while :; do sleep 0.1; done"], cwd: "/", ports: [] }), (s) =>
          s.pid)
      )
      assert.throws(() =>
        process.kill(pid, 0), /ESRCH/)
    }).pipe(Effect.provide(services)))

  it.live("tries other ports when one was taken in between, and stops a server that goes on without it", () =>
    Effect.gen(function*() {
      const { port: taken } = yield* rawServer()
      const goesOn = start({ command: "sh", package: "dash" }, {
        args: ["-c", "echo $$ bind: Address already in use; exec sleep 60"],
        cwd: "/",
        ports: [taken]
      })
      const outputs: Array<string> = []
      const port = yield* onFreePorts(1, ([port]) =>
        outputs.length === 0
          ? Effect.as(Effect.tapError(goesOn, ({ output }) => Effect.sync(() => outputs.push(output))), taken)
          : Effect.succeed(port!))
      assert.strictEqual(outputs.length, 1)
      assert.notStrictEqual(port, taken)
      assert.throws(() => process.kill(Number.parseInt(outputs[0]!, 10), 0), /ESRCH/)
    }).pipe(Effect.provide(services)))
})

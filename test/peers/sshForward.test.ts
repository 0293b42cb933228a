import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Http from "node:http"
import type { Duplex } from "node:stream"
import * as Proxy from "../../src/layers/Proxy.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as SshAgent from "../../src/services/SshAgent.ts"
import * as TcpServer from "../../src/services/TcpServer.ts"
import { dial, eventsOf, loopback, portOf } from "../support/forwarding.ts"
import { closedPort, rawServer } from "../support/servers.ts"
import { echo, read, readAll, write } from "../support/streams.ts"
import { type Program, run, services } from "./support/peer.ts"
import { SshForwards } from "./support/sshForwards.ts"

const curl: Program = { command: "curl", package: "curl" }

/** A server that sends back what it gets, and the end too. */
const echoServer = Effect.fnUntraced(function*(path?: string) {
  const server = yield* rawServer(path)
  yield* Effect.forkScoped(Effect.forever(Effect.flatMap(server.next, echo)))
  return server
})

/** A web server that says where it is asked. */
const webServer = Effect.map(
  Effect.acquireRelease(
    Effect.callback<Http.Server>((resume) => {
      const server = Http.createServer((request, response) => void response.end(`hello ${request.headers.host}`))
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.sync(() => {
        server.closeAllConnections()
        server.close()
      })
  ),
  (server) => {
    const address = server.address()
    return typeof address === "object" && address !== null ? address.port : 0
  }
)

const large = Buffer.alloc(8 * 1_048_576, "0123456789abcdef")

/** Sends eight megabytes there and back, and then the end. */
const roundTrip = Effect.fnUntraced(function*(client: Duplex) {
  client.end(large)
  const { bytes, ending } = yield* readAll(client)
  assert.strictEqual(ending, "end")
  assert.isTrue(bytes.equals(large))
})

const Network = Layer.mergeAll(Dialer.layer, Listener.layer, services)

layer(Layer.mergeAll(SshForwards.layer, Network), { excludeTestServices: true, timeout: "60 seconds" })(
  "forwarding through OpenSSH",
  (it) => {
    it.effect("leads from here to there, megabytes both ways and each end by itself", () =>
      Effect.gen(function*() {
        const target = yield* echoServer()
        const session = yield* (yield* SshForwards).connect()
        const forward = yield* session.forwardLocal(loopback, { host: "localhost", port: target.port })
        const events = yield* eventsOf(forward)
        yield* roundTrip(yield* dial(forward.address))
        assert.strictEqual((yield* events.next)._tag, "Opened")
        assert.strictEqual((yield* events.next)._tag, "Closed")
      }))

    it.effect("leads from there to here, megabytes both ways and each end by itself", () =>
      Effect.gen(function*() {
        const target = yield* echoServer()
        const session = yield* (yield* SshForwards).connect()
        const forward = yield* session.forwardRemote(loopback, target.address)
        assert.isAbove(portOf(forward.address), 1023)
        const events = yield* eventsOf(forward)
        yield* roundTrip(yield* dial(forward.address))
        const opened = yield* events.next
        assert.strictEqual(opened._tag, "Opened")
        assert.isTrue(Option.exists(opened.from, NetAddress.isInetAddressV4))
        assert.strictEqual((yield* events.next)._tag, "Closed")
      }))

    it.effect("lets a target that has ended still be spoken to, in both directions", () =>
      Effect.gen(function*() {
        const target = yield* rawServer()
        const session = yield* (yield* SshForwards).connect()
        const forwards = yield* Effect.all([
          session.forwardLocal(loopback, target.address),
          session.forwardRemote(loopback, target.address)
        ])
        for (const { address } of forwards) {
          const client = yield* dial(address)
          const far = yield* target.next
          far.end("greeting")
          assert.strictEqual(String((yield* readAll(client)).bytes), "greeting")
          client.end("late")
          assert.strictEqual(String(yield* read(far, 4)), "late")
        }
      }))

    it.effect("connects unix sockets with ports and with each other, in both directions", () =>
      Effect.gen(function*() {
        const { connect, home } = yield* SshForwards
        const session = yield* connect()
        const tcp = yield* echoServer()
        const unix = yield* echoServer(`${home}/echo`)
        yield* session.execute(`rm -f ${home}/r1 ${home}/r2`)
        assert.strictEqual(unix.port, 0)
        const forwards = yield* Effect.all([
          session.forwardLocal({ path: `${home}/l1` }, tcp.address),
          session.forwardLocal({ path: `${home}/l2` }, "localhost:1"),
          session.forwardRemote({ path: `${home}/r1` }, tcp.address),
          session.forwardRemote({ path: `${home}/r2` }, { path: `${home}/echo` }),
          session.forwardRemote(loopback, { path: `${home}/echo` })
        ])
        for (const { address } of forwards.filter((_, i) => i !== 1)) {
          const client = yield* dial(address)
          client.end("over a file")
          assert.strictEqual(String((yield* readAll(client)).bytes), "over a file")
        }
      }))

    it.effect("dials a unix socket of the server's user", () =>
      Effect.gen(function*() {
        const { connect, home } = yield* SshForwards
        const session = yield* connect()
        const far = yield* session.listener.bind({ path: `${home}/far` })
        const forward = yield* session.forwardLocal(loopback, { path: `${home}/far` })
        const client = yield* dial(forward.address)
        yield* write(client, "there and back")
        assert.strictEqual(String(yield* read(yield* far.accept, 14)), "there and back")
      }))

    it.effect("tells of targets that cannot be reached", () =>
      Effect.gen(function*() {
        const closed = yield* closedPort
        const { connect, home } = yield* SshForwards
        const session = yield* connect()
        const local = (target: Dialer.DialTarget) => session.forwardLocal(loopback, target)
        const failures = [
          [yield* local({ host: "127.0.0.1", port: closed }), "Refused"],
          [yield* local("nobody.invalid:80"), "NameNotFound"],
          [yield* local({ path: `${home}/no-such-socket` }), "TunnelRefused"],
          [yield* session.forwardRemote(loopback, { host: "127.0.0.1", port: closed }), "Refused"]
        ] as const
        for (const [forward, reason] of failures) {
          const events = yield* eventsOf(forward)
          yield* readAll(yield* dial(forward.address))
          const event = yield* events.next
          assert.strictEqual(event._tag === "Failed" ? event.error.reason._tag : event._tag, reason)
        }
      }))

    it.effect("says that an address of the server is in use, and by whom it is listened on already", () =>
      Effect.gen(function*() {
        const { address } = yield* rawServer()
        const session = yield* (yield* SshForwards).connect()
        const error = yield* Effect.flip(session.forwardRemote(address, "app:1"))
        assert.strictEqual(
          error.reason.message,
          `the server does not forward ${address}: it does not say why; the address may be in use`
        )
        const { reason } = yield* Effect.flip(session.listener.bind(address))
        assert.strictEqual(reason._tag, "AddressInUse")
        const bound = yield* session.listener.bind({ host: "localhost", port: 0 })
        const other = yield* (yield* SshForwards).connect()
        const taken = yield* Effect.flip(other.listener.bind({ host: "localhost", port: portOf(bound.address) }))
        assert.strictEqual(taken.reason._tag, "AddressInUse")
      }))

    it.effect("says that the server forbids it, in the server's words", () =>
      Effect.gen(function*() {
        const { connect, home } = yield* SshForwards
        const words = [
          ["nothing", loopback, "Server has disabled port forwarding."],
          ["nothing", { path: `${home}/x` }, "Server has disabled streamlocal forwarding."],
          ["nowhere", loopback, "port forwarding refused"]
        ] as const
        for (const [what, address, detail] of words) {
          const session = yield* connect(what)
          const error = yield* Effect.flip(session.forwardRemote(address, "app:1"))
          assert.propertyVal(error.reason, "_tag", "ForwardRefused")
          assert.propertyVal(error.reason, "detail", detail)
          const { reason } = yield* Effect.flip(session.listener.bind(address))
          assert.strictEqual(reason._tag, "PermissionDenied")
        }
      }))

    it.effect("tells that the server forbids a target", () =>
      Effect.gen(function*() {
        const target = yield* echoServer()
        for (const what of ["nothing", "nowhere"] as const) {
          const session = yield* (yield* SshForwards).connect(what)
          const forward = yield* session.forwardLocal(loopback, target.address)
          const events = yield* eventsOf(forward)
          yield* readAll(yield* dial(forward.address))
          const event = yield* events.next
          assert.strictEqual(event._tag === "Failed" ? event.error.reason._tag : event._tag, "TunnelRefused")
          // a SOCKS client hears that it is not allowed
          const dynamic = yield* session.forwardDynamic(loopback)
          const refused = yield* Effect.flip(
            Effect.provide(dial(target.address), proxied(`socks5://127.0.0.1:${portOf(dynamic.address)}`))
          )
          assert.propertyVal(refused.reason, "meaning", "connection not allowed by ruleset")
        }
      }))

    it.effect("leaves a port of the server to others when it stops listening", () =>
      Effect.gen(function*() {
        const session = yield* (yield* SshForwards).connect()
        const { address } = yield* Effect.scoped(session.listener.bind(loopback))
        const refused = yield* Effect.flip(dial(address))
        assert.strictEqual(refused.reason._tag, "Refused")
        const bound = yield* session.listener.bind(address)
        yield* write(yield* dial(address), "x")
        yield* read(yield* bound.accept, 1)
      }))

    it.effect("listens on localhost in both families", () =>
      Effect.gen(function*() {
        const session = yield* (yield* SshForwards).connect()
        const { accept, address } = yield* session.listener.bind({ host: "localhost", port: 0 })
        for (const host of ["127.0.0.1", "::1"]) {
          yield* write(yield* dial({ host, port: portOf(address) }), "x")
          const { remoteAddress } = Object.assign({ remoteAddress: "" }, yield* accept)
          assert.strictEqual(remoteAddress, host)
        }
      }))

    it.effect("serves a TcpServer to the clients of the server", () =>
      Effect.gen(function*() {
        const session = yield* (yield* SshForwards).connect()
        const Far = Layer.succeed(Listener.Listener, session.listener)
        yield* Effect.gen(function*() {
          const server = yield* TcpServer.TcpServer
          yield* Effect.forkScoped(server.serve((connection) =>
            Effect.gen(function*() {
              yield* connection.readUntil("\r\n\r\n", { maxSize: 4096 })
              yield* connection.write("HTTP/1.0 200 OK\r\n\r\nserved from afar")
            })
          ))
          const url = `http://127.0.0.1:${portOf(server.address)}/`
          const answers = yield* Effect.replicateEffect(run(curl, ["-sS", url]), 5, { concurrency: 5 })
          assert.deepStrictEqual(answers, Array.from({ length: 5 }, () => "served from afar"))
          // and a client on the server's side of the session
          const { text } = yield* session.execute(
            `exec 3<>/dev/tcp/127.0.0.1/${portOf(server.address)}; printf '\\r\\n\\r\\n' >&3; cat <&3`
          )
          assert.include(text, "served from afar")
        }).pipe(Effect.provide(TcpServer.layer({ port: 0 }).pipe(Layer.provide(Far))))
      }))

    const ways = [
      ["--socks5-hostname", "localhost"],
      ["--socks5", "127.0.0.1"],
      ["--socks4a", "localhost"],
      ["--socks4", "127.0.0.1"]
    ] as const
    for (const [option, host] of ways) {
      it.effect(`serves curl ${option}, here and there`, () =>
        Effect.gen(function*() {
          const port = yield* webServer
          const session = yield* (yield* SshForwards).connect()
          for (
            const forward of [yield* session.forwardDynamic(loopback), yield* session.forwardRemoteDynamic(loopback)]
          ) {
            const proxy = `127.0.0.1:${portOf(forward.address)}`
            const answer = yield* run(curl, ["-sS", option, proxy, `http://${host}:${port}/`])
            assert.strictEqual(answer, `hello ${host}:${port}`)
          }
        }))
    }

    it.effect("lets curl in with the right password only, and tells it that nobody listens", () =>
      Effect.gen(function*() {
        const port = yield* webServer
        const closed = yield* closedPort
        const session = yield* (yield* SshForwards).connect()
        const forward = yield* session.forwardDynamic(loopback, {
          credentials: { username: "me", password: Redacted.make("s3cret") }
        })
        const ask = (login: string, port: number) =>
          run(curl, [
            "-sS",
            "--proxy",
            `socks5h://${login}127.0.0.1:${portOf(forward.address)}`,
            `http://localhost:${port}/`
          ])
        assert.strictEqual(yield* ask("me:s3cret@", port), `hello localhost:${port}`)
        for (const login of ["", "me:wrong@"]) {
          assert.match((yield* Effect.flip(ask(login, port))).output, /authentication|rejected/i)
        }
        assert.match((yield* Effect.flip(ask("me:s3cret@", closed))).output, /\(5\)/)
      }))

    it.effect("carries megabytes through a SOCKS server", () =>
      Effect.gen(function*() {
        const target = yield* echoServer()
        const session = yield* (yield* SshForwards).connect()
        for (
          const forward of [yield* session.forwardDynamic(loopback), yield* session.forwardRemoteDynamic(loopback)]
        ) {
          const network = proxied(`socks5h://127.0.0.1:${portOf(forward.address)}`)
          yield* roundTrip(yield* Effect.provide(dial({ host: "localhost", port: target.port }), network))
        }
      }))

    it.effect("carries many connections at once, each with its own bytes", () =>
      Effect.gen(function*() {
        const target = yield* echoServer()
        const session = yield* (yield* SshForwards).connect()
        const forwards = yield* Effect.all([
          session.forwardLocal(loopback, target.address),
          session.forwardRemote(loopback, target.address)
        ])
        const one = Effect.fnUntraced(function*(i: number) {
          const client = yield* dial(forwards[i % 2]!.address)
          client.end(`${i} `.repeat(20_000))
          return String((yield* readAll(client)).bytes) === `${i} `.repeat(20_000)
        }, Effect.scoped)
        const right = yield* Effect.forEach(Array.from({ length: 60 }, (_, i) => i), one, { concurrency: "unbounded" })
        assert.isTrue(right.every((is) => is))
      }))

    it.effect("forwards in both directions through two jump hosts", () =>
      Effect.gen(function*() {
        const target = yield* echoServer()
        const { connect, settings } = yield* SshForwards
        const session = yield* connect("all", { jump: [settings(), settings()] })
        const forwards = yield* Effect.all([
          session.forwardLocal(loopback, target.address),
          session.forwardRemote(loopback, target.address)
        ])
        for (const { address } of forwards) yield* roundTrip(yield* dial(address))
      }))

    it.effect("fails with the session when the server is killed, in the middle of each", () =>
      Effect.gen(function*() {
        const { connect, home, kill } = yield* SshForwards
        const near = yield* rawServer()
        const session = yield* connect()
        const bound = yield* session.listener.bind(loopback)
        const forwards = yield* session.forward([
          { _tag: "Local", bind: loopback, target: near.address },
          { _tag: "Local", bind: { path: `${home}/near` }, target: near.address },
          { _tag: "Dynamic", bind: loopback },
          { _tag: "Remote", bind: loopback, target: near.address },
          { _tag: "RemoteDynamic", bind: loopback }
        ])
        const ends = yield* Effect.forEach(forwards, eventsOf)
        const [local, unix, dynamic, remote] = forwards
        const viaSocks = Effect.provide(dial(near.address), proxied(`socks5://127.0.0.1:${portOf(dynamic!.address)}`))
        const here = yield* Effect.all([dial(local!.address), dial(unix!.address), viaSocks])
        const targets = yield* Effect.replicateEffect(near.next, 3)
        yield* dial(remote!.address)
        const remoteTarget = yield* near.next
        yield* dial(bound.address)
        const accepted = yield* bound.accept
        for (const target of targets) yield* write(target, "half a sent")
        for (const client of here) assert.strictEqual(String(yield* read(client, 11)), "half a sent")

        const outcome = (duplex: Duplex) => Effect.map(readAll(duplex), ({ ending }) => ending)
        const outcomes = yield* Effect.forkChild(
          Effect.forEach([...here, remoteTarget, accepted], outcome, { concurrency: "unbounded" }),
          { startImmediately: true }
        )
        yield* kill
        // none of it looks as if it had ended; a unix socket knows no reset
        assert.deepStrictEqual(yield* Fiber.join(outcomes), [
          "ECONNRESET",
          "end",
          "ECONNRESET",
          "ECONNRESET",
          "ECONNRESET"
        ])
        for (const { ended } of ends) {
          const result = yield* Fiber.join(ended)
          assert.strictEqual(result._tag === "Failure" ? result.failure.reason._tag : "", "ConnectionLost")
        }
        for (const forward of [local!, unix!, dynamic!]) {
          assert.strictEqual((yield* Effect.flip(dial(forward.address))).reason._tag, "Refused")
        }
        assert.strictEqual((yield* Effect.flip(Effect.scoped(bound.accept))).reason._tag, "Closed")
      }))

    it.effect("holds a client back whose target does not read, and carries on when it does", () =>
      Effect.gen(function*() {
        const near = yield* rawServer()
        const session = yield* (yield* SshForwards).connect()
        for (
          const forward of [
            yield* session.forwardLocal(loopback, near.address),
            yield* session.forwardRemote(loopback, near.address)
          ]
        ) {
          const client = yield* dial(forward.address)
          const target = yield* near.next
          const size = 64 * 1_048_576
          client.end(Buffer.alloc(size))
          yield* Effect.sleep("300 millis")
          assert.isFalse(client.writableFinished)
          let received = 0
          target.on("data", (piece: Buffer) => received += piece.length).resume()
          yield* Effect.callback<void>((resume) => void target.once("end", () => resume(Effect.void)))
          assert.strictEqual(received, size)
        }
      }))

    it.effect("lets programs of the server ask an agent", () =>
      Effect.gen(function*() {
        const { connect, key } = yield* SshForwards
        const agent = SshAgent.inMemory({ key })
        const session = yield* connect("all", { agentForwarding: agent })
        const [held] = yield* SshAgent.keys(agent)
        for (let i = 0; i < 3; i++) {
          const { text } = yield* session.execute("ssh-add -l")
          assert.include(text, held!.fingerprint)
        }
        assert.include((yield* session.execute("ssh-add -L")).text, held!.publicKey.split(" ")[1]!)
      }))

    it.effect("lets programs log in with the agent's keys", () =>
      Effect.gen(function*() {
        const { connect, key, username } = yield* SshForwards
        const session = yield* connect("all", { agentForwarding: SshAgent.inMemory({ key }) })
        const port = /:(\d+)$/.exec(session.name)![1]!
        const ssh = `ssh -p ${port} -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null`
        const { errorText, text } = yield* session.execute(`${ssh} ${username}@127.0.0.1 echo two hops away`)
        assert.strictEqual(text, "two hops away\n", errorText)
      }))

    it.effect("keeps the agent to itself unless told otherwise, and where the server does not want it", () =>
      Effect.gen(function*() {
        const { connect, key } = yield* SshForwards
        const plain = yield* connect()
        assert.match((yield* plain.execute("ssh-add -l")).errorText, /Could not open a connection/)
        const session = yield* connect("nothing", { agentForwarding: SshAgent.inMemory({ key }) })
        for (let i = 0; i < 2; i++) {
          const { errorText, exitCode } = yield* session.execute("ssh-add -l")
          assert.match(errorText, /Could not open a connection/)
          assert.isTrue(Option.contains(exitCode, 2))
        }
      }))

    it.effect("closes what a program asked the agent with the session", () =>
      Effect.gen(function*() {
        const { connect, key } = yield* SshForwards
        const scope = yield* Scope.make()
        const session = yield* Scope.provide(connect("all", { agentForwarding: SshAgent.inMemory({ key }) }), scope)
        const process = yield* Scope.provide(session.exec("ssh-add -l; cat"), scope)
        yield* Stream.runHead(process.stdout)
        yield* Scope.close(scope, Exit.void)
      }))
  }
)

/** A way out through a SOCKS server of this machine. */
function proxied(url: string) {
  return Proxy.layer(url).pipe(Layer.provide(Dialer.layer))
}

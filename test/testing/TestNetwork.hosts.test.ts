import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Dns from "effect/net/Dns"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as TestClock from "effect/testing/TestClock"
import * as Connection from "../../src/services/Connection.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { read, write } from "../support/streams.ts"

/** A test on a network of its own. */
const on = (options: TestNetwork.NetworkOptions = {}) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provide(Effect.scoped(effect), TestNetwork.layer(options))

const host = (name: string, options?: { readonly addresses?: ReadonlyArray<string> }) =>
  TestNetwork.TestNetwork.use((network) => network.host(name, options))

const reason = <A, R>(effect: Effect.Effect<A, { readonly reason: { readonly _tag: string } }, R>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason)

describe("TestNetwork.host", () => {
  it.effect("sees the others, and they see it, by name and by address", () =>
    Effect.gen(function*() {
      const [db, app] = [yield* host("db"), yield* host("App")]
      assert.strictEqual(app.name, "app")
      assert.deepStrictEqual([db.addresses, app.addresses], [["10.0.0.2"], ["10.0.0.3"]])
      const bound = yield* db.listener.bind("db:5432")
      for (const target of ["db:5432", "10.0.0.2:5432"]) {
        const client = yield* app.dialer.dial(target)
        const server = yield* Connection.fromDuplex(yield* bound.accept)
        const [local, remote] = [server.localAddress, server.remoteAddress].map(
          Option.match({ onNone: () => "", onSome: NetAddress.formatSocketAddress })
        )
        assert.strictEqual(local, "10.0.0.2:5432")
        assert.match(String(remote), /^10\.0\.0\.3:49\d+$/)
        client.destroy()
      }
      const { dial } = yield* Dialer.Dialer
      const client = yield* dial("db:5432")
      assert.strictEqual(Reflect.get(client, "localAddress"), "10.0.0.1")
      const { connections } = yield* TestNetwork.TestNetwork
      assert.deepInclude((yield* connections).at(-1), { from: "client", to: "db", target: "db:5432" })
    }).pipe(on()))

  it.effect("has a loopback and socket paths of its own", () =>
    Effect.gen(function*() {
      const [db, app] = [yield* host("db"), yield* host("app")]
      yield* db.listener.bind("127.0.0.1:80")
      yield* db.listener.bind({ path: "/run/db.sock" })
      yield* db.dialer.dial("localhost:80")
      yield* db.dialer.dial({ path: "/run/db.sock" })
      for (const { dialer } of [app, { dialer: yield* Dialer.Dialer }]) {
        assert.strictEqual((yield* reason(dialer.dial("127.0.0.1:80")))._tag, "Refused")
        assert.strictEqual((yield* reason(dialer.dial("db:80")))._tag, "Refused")
        assert.strictEqual((yield* reason(dialer.dial({ path: "/run/db.sock" })))._tag, "Refused")
      }
      yield* app.listener.bind({ path: "/run/db.sock" })
    }).pipe(on()))

  it.effect("listens on all its addresses, or on one, but on no other host's", () =>
    Effect.gen(function*() {
      const db = yield* host("db", { addresses: ["10.1.0.1", "10.1.0.2", "fd00::1"] })
      yield* db.listener.bind("0.0.0.0:80")
      for (const target of ["db:80", "10.1.0.2:80", "[fd00::1]:80"]) yield* Dialer.Dialer.use((_) => _.dial(target))
      yield* db.dialer.dial("localhost:80")
      yield* db.listener.bind("10.1.0.2:81")
      assert.strictEqual((yield* reason(Dialer.Dialer.use((_) => _.dial("10.1.0.1:81"))))._tag, "Refused")
      for (const taken of ["10.1.0.1:80", "127.0.0.1:80", "[::]:81", "0.0.0.0:81"]) {
        assert.strictEqual((yield* reason(db.listener.bind(taken)))._tag, "AddressInUse", taken)
      }
      for (const foreign of ["app:80", "10.9.9.9:80"]) {
        const error = yield* Effect.flip(db.listener.bind(foreign))
        assert.include(error.message, `EADDRNOTAVAIL: address not available ${foreign}`)
      }
    }).pipe(on({ hosts: ["app"] })))

  it.effect("gives its Dialer and Listener to programs", () =>
    Effect.gen(function*() {
      const [db, app] = [yield* host("db"), yield* host("app")]
      const bound = yield* Listener.Listener.use(({ bind }) => bind("0.0.0.0:80")).pipe(Effect.provide(db.layer))
      yield* Effect.forkScoped(Effect.flatMap(bound.accept, (duplex) => write(duplex, "hello\n")))
      const line = TcpClient.TcpClient.use((tcp) =>
        Effect.flatMap(tcp.connect("db:80"), (connection) => connection.readLine())
      )
      assert.strictEqual(
        yield* Effect.scoped(line).pipe(Effect.provide(TcpClient.layer.pipe(Layer.provide(app.layer)))),
        "hello"
      )
    }).pipe(on()))
})

describe("TestNetwork names", () => {
  it.effect("stand for hosts and addresses, of which the first that connects is taken", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const [one, two] = [yield* host("one"), yield* host("two")]
      yield* network.name("db.internal", ["one", ...two.addresses])
      const { dial } = yield* Dialer.Dialer
      const second = yield* two.listener.bind("two:5432")
      yield* dial("db.internal:5432")
      yield* second.accept
      const first = yield* one.listener.bind("one:5432")
      yield* dial("DB.internal:5432")
      yield* first.accept
    }).pipe(on()))

  it.effect("go on to the next address when one stays silent", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      yield* host("one")
      const bound = yield* Listener.Listener.use(({ bind }) => bind("two:80"))
      yield* network.name("web", ["one", "two"])
      yield* network.crash("one")
      const dialling = yield* Effect.forkScoped(Dialer.Dialer.use(({ dial }) => dial("web:80")))
      yield* TestClock.adjust("249 millis")
      assert.isUndefined(dialling.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(dialling)
      yield* bound.accept
    }).pipe(on()))

  it.effect("may be unknown, unanswered, and back", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      yield* Listener.Listener.use(({ bind }) => bind("db:80"))
      const { dial } = yield* Dialer.Dialer
      for (
        const [answer, code, isRetryable] of [["NotFound", "ENOTFOUND", false], [
          "Unavailable",
          "EAI_AGAIN",
          true
        ]] as const
      ) {
        const error = yield* Effect.scoped(Effect.andThen(network.name("db", answer), Effect.flip(dial("db:80"))))
        assert.deepInclude(error.reason, { _tag: "NameNotFound", name: "db", code })
        assert.strictEqual(error.isRetryable, isRetryable)
      }
      yield* dial("db:80")
      const empty = yield* Effect.scoped(Effect.andThen(network.name("db", []), Effect.flip(dial("db:80"))))
      assert.strictEqual(empty.reason._tag, "NameNotFound")
    }).pipe(on()))

  it.effect("are what Effect's Dns says, too", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const dns = yield* Dns.Dns
      yield* host("db", { addresses: ["10.1.0.1", "fd00::1"] })
      yield* network.name("web", ["db"])
      const addresses = (name: string) => Effect.map(dns.lookup(name), (found) => found.map(NetAddress.formatIp))
      assert.deepStrictEqual(yield* addresses("db"), ["10.1.0.1", "fd00::1"])
      assert.deepStrictEqual(yield* addresses("web"), ["10.1.0.1", "fd00::1"])
      assert.deepStrictEqual((yield* dns.lookup("db", { family: "IPv6" })).map(NetAddress.formatIp), ["fd00::1"])
      assert.deepStrictEqual((yield* dns.reverse("10.1.0.1")).map(String), ["db"])
      assert.strictEqual((yield* Effect.flip(dns.lookup("nobody"))).reason, "NotFound")
      yield* network.name("db", "Unavailable")
      assert.strictEqual((yield* Effect.flip(dns.lookup("db"))).reason, "Temporary")
    }).pipe(on()))
})

/** Counts how often it was started and ended, and answers each connection with the first. */
const counting = () => {
  const runs = { started: 0, ended: 0 }
  const program = Effect.gen(function*() {
    const run = ++runs.started
    yield* Effect.addFinalizer(() => Effect.sync(() => void runs.ended++))
    const { accept } = yield* Listener.Listener.use(({ bind }) => bind("0.0.0.0:80"))
    return yield* Effect.forever(Effect.flatMap(accept, (duplex) => write(duplex, `run ${run}`)))
  })
  return { runs, program }
}

describe("TestHost.start", () => {
  it.effect("runs a program on the host, again after each crash, until the network ends", () => {
    const { program, runs } = counting()
    return Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const web = yield* host("web")
      yield* web.start(program)
      const { dial } = yield* Dialer.Dialer
      const said = Effect.scoped(Effect.flatMap(dial("web:80"), (duplex) => Effect.map(read(duplex, 5), String)))
      assert.strictEqual(yield* said, "run 1")
      yield* network.bounce("web")
      yield* network.settle
      assert.deepStrictEqual(runs, { started: 2, ended: 1 })
      assert.strictEqual(yield* said, "run 2")
      yield* Effect.scoped(Effect.andThen(network.crash("web"), network.settle))
      yield* network.settle
      assert.deepStrictEqual(runs, { started: 3, ended: 2 })
    }).pipe(on(), Effect.tap(() => Effect.sync(() => assert.deepStrictEqual(runs, { started: 3, ended: 3 }))))
  })

  it.effect("keeps what a program has started when the program itself has ended", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const web = yield* host("web")
      yield* web.start(Listener.Listener.use(({ bind }) => bind("0.0.0.0:80")))
      yield* network.settle
      yield* web.dialer.dial("web:80")
      yield* network.bounce("web")
      yield* web.dialer.dial("web:80")
      yield* network.crash("web")
    }).pipe(on()))

  it.effect("waits with a program for a host that is down", () =>
    Effect.gen(function*() {
      const { program, runs } = counting()
      const network = yield* TestNetwork.TestNetwork
      const web = yield* host("web")
      yield* network.crash("web")
      yield* web.start(program)
      assert.strictEqual(runs.started, 0)
      yield* network.bounce("web")
      assert.strictEqual(runs.started, 1)
    }).pipe(on()))

  it.effect("tells of a program that fails", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const web = yield* host("web")
      yield* web.start(Effect.fail("broken"))
      assert.deepInclude((yield* network.events).at(-1), { what: "failed", from: "web" })
    }).pipe(on()))

  it.effect("needs what the program needs, but neither Dialer nor Listener", () =>
    Effect.gen(function*() {
      class Greeting extends Context.Service<Greeting, string>()("Greeting") {}
      const web = yield* host("web")
      let seen = ""
      const program = Effect.gen(function*() {
        seen = yield* Greeting
        yield* Dialer.Dialer
      })
      yield* web.start(program).pipe(Effect.provideService(Greeting, "hello"))
      assert.strictEqual(seen, "hello")
    }).pipe(on()))
})

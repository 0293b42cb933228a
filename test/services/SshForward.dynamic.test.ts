import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Proxy from "../../src/layers/Proxy.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as SshForward from "../../src/services/SshForward.ts"
import { bind, dial, dialThere, eventsOf, loopback, portOf } from "../support/forwarding.ts"
import { describeOnNetworks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { closedPort, rawServer, receiveAll } from "../support/servers.ts"
import { connected } from "../support/ssh.ts"
import { read, readAll, write } from "../support/streams.ts"

const credentials = { username: "me", password: Redacted.make("s3cret") }

/** Dials through a SOCKS server at an address of the test's own network. */
const dialBySocks = Effect.fnUntraced(function*(target: Dialer.DialTarget, proxy: Proxy.ProxyInput) {
  const below = Layer.succeed(Dialer.Dialer, yield* Dialer.Dialer)
  return yield* Effect.provide(dial(target), Proxy.layer(proxy).pipe(Layer.provide(below)))
})

describeOnNetworks("SshSession.forwardDynamic", (test) => {
  for (const protocol of ["socks5h", "socks4a", "socks5", "socks4"]) {
    test(`leads ${protocol} clients to where they want, and passes each end on by itself`, () =>
      Effect.gen(function*() {
        const target = yield* rawServer()
        const { session } = yield* connected()
        const forward = yield* session.forwardDynamic(loopback)
        const events = yield* eventsOf(forward)
        const host = protocol.endsWith("h") || protocol.endsWith("a") ? "localhost" : "127.0.0.1"
        const client = yield* dialBySocks(
          { host, port: target.port },
          `${protocol}://127.0.0.1:${portOf(forward.address)}`
        )
        assert.deepInclude(yield* events.next, { _tag: "Opened", target: `${host}:${target.port}` })
        client.end("question")
        const far = yield* target.next
        const ended = Effect.callback<void>((resume) => void far.once("end", () => resume(Effect.void)))
        assert.strictEqual(String(yield* read(far, 8)), "question")
        yield* ended
        far.end("answer")
        const { bytes, ending } = yield* readAll(client)
        assert.strictEqual(`${String(bytes)} ${ending}`, "answer end")
        assert.strictEqual((yield* events.next)._tag, "Closed")
      }))
  }

  test("takes a request and what follows it in one piece", () =>
    Effect.gen(function*() {
      const target = yield* rawServer()
      const { session } = yield* connected()
      const forward = yield* session.forwardDynamic(loopback)
      const client = yield* dial(forward.address)
      const port = Buffer.of(target.port >> 8, target.port & 255)
      client.end(Buffer.concat([Buffer.of(5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1), port, Buffer.from("early")]))
      const far = yield* target.next
      assert.strictEqual(String(yield* receiveAll(far)), "early")
      assert.strictEqual((yield* readAll(client)).bytes.toString("hex"), "050005000001000000000000")
    }))

  test("tells a client that its target cannot be reached, and goes on", () =>
    Effect.gen(function*() {
      const closed = yield* closedPort
      const { session } = yield* connected()
      const forward = yield* session.forwardDynamic(loopback)
      const events = yield* eventsOf(forward)
      for (const [protocol, code] of [["socks5h", 5], ["socks4a", 91]] as const) {
        const dialling = dialBySocks(
          { host: "localhost", port: closed },
          `${protocol}://127.0.0.1:${portOf(forward.address)}`
        )
        assert.deepInclude(yield* reasonOf(dialling), { _tag: "ProxyRefused", code })
        assert.deepInclude(yield* events.next, { _tag: "Failed", target: `localhost:${closed}` })
      }
    }))

  test("asks for a username and a password where there are some", () =>
    Effect.gen(function*() {
      const target = yield* rawServer()
      const { session } = yield* connected()
      const forward = yield* session.forwardDynamic(loopback, { credentials })
      const events = yield* eventsOf(forward)
      const by = (proxy: string) =>
        dialBySocks(target.address, proxy.replace("@", `@127.0.0.1:${portOf(forward.address)}`))
      yield* write(yield* by("socks5://me:s3cret@"), "x")
      assert.strictEqual(String(yield* read(yield* target.next, 1)), "x")
      yield* events.next
      assert.strictEqual((yield* reasonOf(by("socks5://me:wrong@")))["_tag"], "ProxyAuthentication")
      const event = yield* events.next
      assert.strictEqual(event._tag === "Failed" ? event.error.reason._tag : "", "Malformed")
      assert.notInclude(JSON.stringify(event), "s3cret")
      assert.strictEqual((yield* reasonOf(by("socks5://@")))["_tag"], "ProxyAuthentication")
      assert.strictEqual((yield* reasonOf(by("socks4://@")))["_tag"], "ProxyRefused")
    }))

  test("hangs up on who says nothing for too long", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const forward = yield* session.forwardDynamic(loopback, { handshakeTimeout: "50 millis" })
      const events = yield* eventsOf(forward)
      const client = yield* dial(forward.address)
      yield* write(client, Buffer.of(5))
      assert.strictEqual((yield* readAll(client)).bytes.length, 0)
      const event = yield* events.next
      assert.strictEqual(event._tag === "Failed" ? event.error.reason._tag : "", "ReadTimeout")
      assert.strictEqual(event.target, "")
    }))

  test("ends with its scope while a client has not said what it wants", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const scope = yield* Scope.make()
      const forward = yield* Scope.provide(session.forwardDynamic(loopback), scope)
      const client = yield* dial(forward.address)
      yield* write(client, Buffer.of(5, 1, 0))
      assert.strictEqual(String(yield* read(client, 2)), "\x05\x00")
      const reading = yield* Effect.forkChild(readAll(client), { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      yield* Fiber.join(reading)
    }))
})

describeOnNetworks("SshSession.forwardRemoteDynamic", (test) => {
  test("leads SOCKS clients there to where they want here", () =>
    Effect.gen(function*() {
      const target = yield* bind()
      const { session } = yield* connected()
      const forward = yield* session.forwardRemoteDynamic(loopback)
      const proxy = Proxy.layer(`socks5://127.0.0.1:${portOf(forward.address)}`).pipe(Layer.provide(Dialer.layer))
      yield* Effect.gen(function*() {
        const client = yield* dial(target.address)
        yield* write(client, "ping")
        assert.strictEqual(String(yield* read(yield* target.accept, 4)), "ping")
      }).pipe(Effect.provide(proxy))
    }))
})

describeOnNetworks("SshSession.forward", (test) => {
  test("starts what is given as data", () =>
    Effect.gen(function*() {
      const far = yield* rawServer()
      const near = yield* bind()
      const { session } = yield* connected()
      const [local, remote, dynamic, remoteDynamic] = yield* session.forward([
        SshForward.local(loopback, far.address),
        SshForward.remote(loopback, near.address),
        SshForward.dynamic(loopback),
        SshForward.remoteDynamic(loopback)
      ])
      yield* write(yield* dial(local!.address), "local")
      assert.strictEqual(String(yield* read(yield* far.next, 5)), "local")
      yield* write(yield* dialThere(remote!.address), "remote")
      assert.strictEqual(String(yield* read(yield* near.accept, 6)), "remote")
      const client = yield* dialBySocks(far.address, `socks5://127.0.0.1:${portOf(dynamic!.address)}`)
      yield* write(client, "dynamic")
      assert.strictEqual(String(yield* read(yield* far.next, 7)), "dynamic")
      assert.isAbove(portOf(remoteDynamic!.address), 0)
    }))

  test("starts all of them or none", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const { address } = yield* Effect.scoped(session.listener.bind(loopback))
      const taken = yield* rawServer()
      const error = yield* Effect.flip(session.forward([
        SshForward.remote(address, "app:1"),
        SshForward.remote(taken.address, "app:1")
      ]))
      assert.strictEqual(error.reason._tag, "ForwardRefused")
      assert.strictEqual((yield* reasonOf(dialThere(address)))["_tag"], "Refused")
    }))
})

describe("forwards as data", () => {
  it("say what they are", () => {
    const bind = "127.0.0.1:1080"
    assert.deepStrictEqual(SshForward.local(bind, "db:1"), { _tag: "Local", bind, target: "db:1" })
    assert.deepStrictEqual(SshForward.remote(bind, "db:1"), { _tag: "Remote", bind, target: "db:1" })
    assert.deepStrictEqual(SshForward.dynamic(bind), { _tag: "Dynamic", bind })
    assert.deepStrictEqual(SshForward.remoteDynamic(bind), { _tag: "RemoteDynamic", bind })
  })
})

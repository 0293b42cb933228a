import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as ConnectionLog from "../../src/services/ConnectionLog.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { bind, dial, dialThere, eventsOf, loopback, portOf } from "../support/forwarding.ts"
import { describeOnNetworks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { closedPort, rawServer, receiveAll, temporaryFolder } from "../support/servers.ts"
import { connected } from "../support/ssh.ts"
import { echo, read, readAll, resetByUs, turns, write } from "../support/streams.ts"

/** A forward here to a target there, and a connection through it in both its ends. */
const throughLocal = Effect.gen(function*() {
  const target = yield* rawServer()
  const { server, session } = yield* connected()
  const forward = yield* session.forwardLocal(loopback, target.address)
  const events = yield* eventsOf(forward)
  const client = yield* dial(forward.address)
  const far = yield* target.next
  return { client, events, far, forward, server, session, target }
})

describeOnNetworks("SshSession.forwardLocal", (test) => {
  test("leads what connects here to a target there, and passes each end on by itself", () =>
    Effect.gen(function*() {
      const { client, events, far, forward, target } = yield* throughLocal
      client.end("question")
      const opened = yield* events.next
      assert.deepInclude(opened, { _tag: "Opened", connection: 1, target: target.address })
      assert.strictEqual(yield* forward.connections, 1)
      assert.strictEqual(String(yield* receiveAll(far)), "question")
      const { ending } = yield* readAll(client)
      assert.strictEqual(ending, "end")
      assert.strictEqual((yield* events.next)._tag, "Closed")
      yield* Effect.repeat(forward.connections, { until: (open) => open === 0 })
    }))

  test("lets the target answer after the client's end", () =>
    Effect.gen(function*() {
      const { client, far } = yield* throughLocal
      client.end("question")
      const ended = Effect.callback<void>((resume) => void far.once("end", () => resume(Effect.void)).resume())
      yield* ended
      far.end("answer")
      const { bytes, ending } = yield* readAll(client)
      assert.strictEqual(`${String(bytes)} ${ending}`, "answer end")
    }))

  test("lets the client speak after the target's end", () =>
    Effect.gen(function*() {
      const { client, far } = yield* throughLocal
      far.end("greeting")
      const { bytes, ending } = yield* readAll(client)
      assert.strictEqual(`${String(bytes)} ${ending}`, "greeting end")
      client.end("late question")
      assert.strictEqual(String(yield* receiveAll(far)), "late question")
    }))

  test("connects unix sockets on either side", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const target = yield* rawServer(`${folder}/far`)
      const { session } = yield* connected()
      const forward = yield* session.forwardLocal({ path: `${folder}/near` }, { path: `${folder}/far` }, {
        mode: 0o600
      })
      const events = yield* eventsOf(forward)
      const client = yield* dial({ path: `${folder}/near` })
      yield* write(client, "ping")
      const far = yield* target.next
      assert.strictEqual(String(yield* read(far, 4)), "ping")
      assert.deepInclude(yield* events.next, { _tag: "Opened", from: Option.none(), target: `${folder}/far` })
    }))

  test("tells of a target that cannot be reached, and goes on", () =>
    Effect.gen(function*() {
      const closed = yield* closedPort
      const { session } = yield* connected()
      const forward = yield* session.forwardLocal(loopback, { host: "127.0.0.1", port: closed })
      const events = yield* eventsOf(forward)
      for (const connection of [1, 2]) {
        const client = yield* dial(forward.address)
        const { bytes } = yield* readAll(client)
        assert.strictEqual(bytes.length, 0)
        const event = yield* events.next
        assert.deepInclude(event, { _tag: "Failed", connection, target: `127.0.0.1:${closed}` })
        assert.strictEqual(event._tag === "Failed" ? event.error._tag : "", "DialError")
      }
    }))

  test("tells of a client that breaks, and breaks what it had dialled", () =>
    Effect.gen(function*() {
      const { client, events, far } = yield* throughLocal
      yield* write(client, "half a sent")
      assert.strictEqual(String(yield* read(far, 11)), "half a sent")
      yield* events.next
      yield* resetByUs(client)
      const event = yield* events.next
      assert.strictEqual(event._tag === "Failed" ? event.error.reason._tag : event._tag, "Reset")
      // SSH has no word for it
      yield* readAll(far)
    }))

  test("gives up a dial that takes too long", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const forward = yield* session.forwardLocal(loopback, "stalled.test:1", { connectTimeout: "50 millis" })
      const events = yield* eventsOf(forward)
      yield* dial(forward.address)
      const event = yield* events.next
      assert.strictEqual(event._tag === "Failed" ? event.error.reason._tag : event._tag, "ConnectTimeout")
    }))

  test("has connections beyond the limit wait", () =>
    Effect.gen(function*() {
      const target = yield* rawServer()
      const { session } = yield* connected()
      const forward = yield* session.forwardLocal(loopback, target.address, { maxConnections: 1 })
      const first = yield* dial(forward.address)
      const far = yield* target.next
      const second = yield* dial(forward.address)
      yield* write(second, "patience")
      yield* turns(50)
      assert.strictEqual(target.sockets.size, 1)
      assert.strictEqual(yield* forward.connections, 1)
      first.end()
      yield* receiveAll(far)
      assert.strictEqual(String(yield* read(yield* target.next, 8)), "patience")
    }))

  test("ends with its scope: stops listening, resets its connections, and its events end", () =>
    Effect.gen(function*() {
      const target = yield* rawServer()
      const { session } = yield* connected()
      const scope = yield* Scope.make()
      const forward = yield* Scope.provide(session.forwardLocal(loopback, target.address), scope)
      const events = yield* eventsOf(forward)
      const client = yield* dial(forward.address)
      const far = yield* target.next
      yield* events.next
      const reading = yield* Effect.forkChild(Effect.all([readAll(client), receiveAll(far)], { concurrency: 2 }), {
        startImmediately: true
      })
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(reading))[0].ending, "ECONNRESET")
      assert.strictEqual((yield* Fiber.join(events.ended))._tag, "Success")
      assert.strictEqual((yield* reasonOf(dial(forward.address)))["_tag"], "Refused")
      // the session goes on
      yield* session.dialer.dial(target.address)
    }))

  test("ends with the session, and says so", () =>
    Effect.gen(function*() {
      const { client, events, forward, server } = yield* throughLocal
      yield* events.next
      yield* server.kill
      assert.strictEqual((yield* readAll(client)).ending, "ECONNRESET")
      const ended = yield* Fiber.join(events.ended)
      assert.strictEqual(ended._tag === "Failure" ? ended.failure.reason._tag : "", "ConnectionLost")
      assert.strictEqual((yield* reasonOf(dial(forward.address)))["_tag"], "Refused")
      // who asks later hears it too
      const late = yield* eventsOf(forward)
      assert.strictEqual((yield* Fiber.join(late.ended))._tag, "Failure")
    }))

  test("can be interrupted while a dial is under way", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const scope = yield* Scope.make()
      const forward = yield* Scope.provide(session.forwardLocal(loopback, "stalled.test:1"), scope)
      const client = yield* dial(forward.address)
      yield* Effect.repeat(forward.connections, { until: (open) => open === 1 })
      yield* Scope.close(scope, Exit.void)
      yield* readAll(client)
    }))

  test("does not begin without a session, an address or a target", () =>
    Effect.gen(function*() {
      const { address } = yield* bind()
      const { server, session } = yield* connected()
      assert.strictEqual((yield* reasonOf(session.forwardLocal(address, "db:1")))["_tag"], "AddressInUse")
      assert.deepInclude(yield* reasonOf(session.forwardLocal(loopback, "nowhere")), { _tag: "Unknown" })
      yield* server.kill
      yield* session.closed
      assert.strictEqual((yield* reasonOf(session.forwardLocal(loopback, "db:1")))["_tag"], "ConnectionLost")
    }))

  test("carries many connections at once, each with its own bytes", () =>
    Effect.gen(function*() {
      const target = yield* rawServer()
      const { session } = yield* connected()
      yield* Effect.forkScoped(
        Effect.forever(Effect.flatMap(target.next, (socket) => echo(socket.on("error", () => {}))))
      )
      const forward = yield* session.forwardLocal(loopback, target.address)
      const one = Effect.fnUntraced(function*(i: number) {
        const client = yield* dial(forward.address)
        client.end(`${i}`.repeat(200))
        return String((yield* readAll(client)).bytes)
      }, Effect.scoped)
      const numbers = Array.from({ length: 12 }, (_, i) => i)
      const answers = yield* Effect.forEach(numbers, one, { concurrency: "unbounded" })
      assert.deepStrictEqual(answers, numbers.map((i) => `${i}`.repeat(200)))
    }), 60_000)

  test("tells the log and the metrics", () =>
    Effect.gen(function*() {
      const closed = yield* closedPort
      yield* Effect.gen(function*() {
        const { session } = yield* connected()
        const forward = yield* session.forwardLocal(loopback, { host: "127.0.0.1", port: closed })
        const events = yield* eventsOf(forward)
        yield* dial(forward.address)
        yield* events.next
        const metrics = yield* Metric.snapshot
        const counted = metrics.filter(({ id }) => id === "hawser_ssh_forwarded_total")
        assert.isTrue(counted.some(({ attributes }) => attributes?.["outcome"] === "Refused"))
        const log = yield* ConnectionLog.ConnectionLog
        assert.match(
          yield* log.asString(),
          new RegExp(`forward failed: .* at 127.0.0.1:\\d+ to 127.0.0.1:${closed}: .+`)
        )
      }).pipe(Effect.provide(ConnectionLog.layer()))
    }))
})

describeOnNetworks("SshSession.forwardRemote", (test) => {
  test("leads what connects there to a target here, and passes each end on by itself", () =>
    Effect.gen(function*() {
      const target = yield* bind()
      const { session } = yield* connected()
      const forward = yield* session.forwardRemote(loopback, target.address)
      assert.isAbove(portOf(forward.address), 0)
      const events = yield* eventsOf(forward)
      const client = yield* dialThere(forward.address)
      const near = yield* target.accept
      client.end("question")
      assert.strictEqual(String((yield* readAll(near)).bytes), "question")
      near.end("answer")
      const { bytes, ending } = yield* readAll(client)
      assert.strictEqual(`${String(bytes)} ${ending}`, "answer end")
      const opened = yield* events.next
      assert.strictEqual(opened._tag, "Opened")
      assert.strictEqual(Option.isSome(opened.from), true)
      assert.strictEqual((yield* events.next)._tag, "Closed")
    }))

  test("connects unix sockets on either side", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const target = yield* bind({ path: `${folder}/near` })
      const { session } = yield* connected()
      const forward = yield* session.forwardRemote({ path: `${folder}/far` }, { path: `${folder}/near` })
      assert.isTrue(Fs.statSync(`${folder}/far`).isSocket())
      yield* write(yield* dialThere(forward.address), "ping")
      assert.strictEqual(String(yield* read(yield* target.accept, 4)), "ping")
    }))

  test("tells of a target that cannot be reached, and goes on", () =>
    Effect.gen(function*() {
      const { address } = yield* Effect.scoped(bind())
      const { session } = yield* connected()
      const forward = yield* session.forwardRemote(loopback, address)
      const events = yield* eventsOf(forward)
      for (const connection of [1, 2]) {
        yield* readAll(yield* dialThere(forward.address))
        const event = yield* events.next
        assert.deepInclude(event, { _tag: "Failed", connection })
        assert.strictEqual(event._tag === "Failed" ? event.error.reason._tag : "", "Refused")
      }
    }))

  test("says that the server does not forward", () =>
    Effect.gen(function*() {
      const { session } = yield* connected({ remoteForwarding: "refused" })
      const error = yield* Effect.flip(session.forwardRemote("localhost:8080", "app:1"))
      assert.strictEqual(error.reason._tag, "ForwardRefused")
      assert.match(
        error.message,
        /^ssh demo@127.0.0.1:\d+: the server does not forward localhost:8080: it does not say why; the address may be in use$/
      )
    }))

  test("does not begin without a session, an address or a target", () =>
    Effect.gen(function*() {
      const { server, session } = yield* connected()
      assert.strictEqual((yield* reasonOf(session.forwardRemote("nowhere", "app:1")))["_tag"], "Unknown")
      assert.strictEqual((yield* reasonOf(session.forwardRemote(loopback, "nowhere")))["_tag"], "Unknown")
      yield* server.kill
      yield* session.closed
      assert.strictEqual((yield* reasonOf(session.forwardRemote(loopback, "app:1")))["_tag"], "ConnectionLost")
    }))

  test("ends with the session, and breaks what it had dialled", () =>
    Effect.gen(function*() {
      const target = yield* bind()
      const { server, session } = yield* connected()
      const forward = yield* session.forwardRemote(loopback, target.address)
      const events = yield* eventsOf(forward)
      yield* write(yield* dialThere(forward.address), "x")
      const near = yield* target.accept
      yield* read(near, 1)
      yield* server.kill
      assert.strictEqual((yield* readAll(near)).ending, "ECONNRESET")
      const ended = yield* Fiber.join(events.ended)
      assert.strictEqual(ended._tag === "Failure" ? ended.failure.reason._tag : "", "ConnectionLost")
    }))

  test("ends with its scope, and leaves the port to others", () =>
    Effect.gen(function*() {
      const target = yield* bind()
      const { session } = yield* connected()
      const { address } = yield* Effect.scoped(Effect.gen(function*() {
        const forward = yield* session.forwardRemote(loopback, target.address)
        yield* dialThere(forward.address)
        yield* target.accept
        return forward
      }))
      assert.strictEqual((yield* reasonOf(dialThere(address)))["_tag"], "Refused")
      const again = yield* session.forwardRemote(address, target.address)
      assert.strictEqual(portOf(again.address), portOf(address))
    }))
})

it.effect("a forward ends at once, whatever the clock says", () =>
  Effect.gen(function*() {
    const target = yield* rawServer()
    const { session } = yield* connected()
    const forward = yield* Effect.scoped(Effect.gen(function*() {
      const forward = yield* session.forwardLocal(loopback, target.address)
      const client = yield* dial(forward.address)
      yield* write(client, "x")
      yield* target.next
      return forward
    }))
    assert.strictEqual((yield* reasonOf(dial(forward.address)))["_tag"], "Refused")
  }).pipe(Effect.provide(TestNetwork.layer())))

import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { TestClock } from "effect/testing"
import * as Fs from "node:fs"
import { EventSink } from "../../src/internal/events.ts"
import * as Connection from "../../src/services/Connection.ts"
import * as ConnectionLog from "../../src/services/ConnectionLog.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Grpc from "../../src/services/Grpc.ts"
import * as GrpcSchema from "../../src/services/GrpcSchema.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import * as SshAuth from "../../src/services/SshAuth.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { greeterProto, grpcServer } from "../support/greeter.ts"
import { leavesNothing } from "../support/leaks.ts"
import { closedPort, rawServer, temporaryFolder } from "../support/servers.ts"
import { secret, sshServer } from "../support/ssh.ts"

const events = ConnectionLog.ConnectionLog.use((log) => log.events)
const asString = (count?: number) => ConnectionLog.ConnectionLog.use((log) => log.asString(count))

const report = (event: string) =>
  Effect.map(EventSink, (report) => report({ source: "tcp", id: "tcp-0", event, detail: "something" }))

describe("ConnectionLog.layer", () => {
  it.live("records dials, connections and failures, without what was sent", () =>
    leavesNothing(
      Effect.gen(function*() {
        const server = yield* rawServer()
        const port = yield* closedPort
        const dialer = yield* Dialer.Dialer
        yield* Effect.scoped(Effect.gen(function*() {
          const connection = yield* Connection.fromDuplex(yield* dialer.dial(server.address))
          const socket = yield* server.next
          socket.end("their-secret")
          yield* connection.write("our-secret")
          yield* connection.readExactly(12)
        }))
        yield* Effect.flip(Effect.scoped(dialer.dial(`127.0.0.1:${port}`)))
        const recorded = (yield* events).map(({ source, event, detail }) => [source, event, detail])
        assert.deepStrictEqual(recorded, [
          ["dial", "dialed", "direct"],
          ["tcp", "dialed", server.address],
          ["tcp", "closed", "12 bytes read, 10 bytes written"],
          [
            "dial",
            "failed",
            `127.0.0.1:${port}: connection to 127.0.0.1:${port} refused; is something listening there?`
          ]
        ])
        assert.notInclude(yield* asString(), "secret")
      }).pipe(Effect.provide(Layer.merge(Dialer.layer, ConnectionLog.layer())))
    ))

  it.effect("records both sides, on the test network", () =>
    Effect.gen(function*() {
      const { accept, address } = yield* (yield* Listener.Listener).bind({ host: "db", port: 0 })
      yield* Connection.fromDuplex(yield* (yield* Dialer.Dialer).dial(address))
      yield* Connection.fromDuplex(yield* accept, { role: "accepted" })
      assert.deepStrictEqual((yield* events).map(({ event, source }) => `${source} ${event}`), [
        "dial dialed",
        "tcp dialed",
        "tcp accepted"
      ])
    }).pipe(Effect.provide(Layer.merge(TestNetwork.layer(), ConnectionLog.layer()))))

  it.live("records SSH sessions, and logins that fail, without what was said in them", () =>
    leavesNothing(
      Effect.gen(function*() {
        const { settings } = yield* sshServer()
        const ssh = Ssh.make(yield* Dialer.Dialer)
        yield* ssh.execute(settings, "echo our-secret")
        yield* Effect.flip(ssh.execute({ ...settings, auth: SshAuth.password(Redacted.make("wr0ng-secret")) }, "true"))
        // a channel is closed when the server says so, which may be after the end of the session
        const recorded = (yield* events).filter(({ event, source }) => source === "ssh" && event !== "channel closed")
        assert.deepStrictEqual(recorded.map(({ event }) => event), ["connected", "channel opened", "closed", "failed"])
        assert.include(recorded[3]?.detail, "password")
        assert.notInclude(yield* asString(), "secret")
        assert.notInclude(yield* asString(), Redacted.value(secret))
      }).pipe(Effect.scoped, Effect.provide(Layer.merge(TestNetwork.layer(), ConnectionLog.layer())))
    ))

  it.live("records gRPC channels and calls, without what was said in them", () =>
    leavesNothing(
      Effect.gen(function*() {
        const { port } = yield* grpcServer()
        const grpc = yield* Grpc.Grpc
        const channel = yield* grpc.connect({
          url: `http://127.0.0.1:${port}`,
          schema: GrpcSchema.fromFile(greeterProto),
          metadata: { authorization: Redacted.make("our-secret") }
        })
        yield* channel.unary("greeter.v1.Greeter/SayHello", { name: "secret" })
        const recorded = (yield* events).filter(({ source }) => source === "grpc")
        assert.deepStrictEqual(recorded.map(({ event }) => event), ["connected", "called", "ended"])
        assert.notInclude(yield* asString(), "secret")
      }).pipe(
        Effect.scoped,
        Effect.provide(Layer.merge(Grpc.layer.pipe(Layer.provide(Dialer.layer)), ConnectionLog.layer()))
      )
    ))

  it.effect("keeps the last so many, 300 by default", () =>
    Effect.gen(function*() {
      const recorded = (maxEvents?: number) =>
        Effect.gen(function*() {
          for (let i = 0; i < 302; i++) yield* report(`${i}`)
          return (yield* events).map(({ event }) => event)
        }).pipe(Effect.provide(ConnectionLog.layer({ maxEvents })))
      assert.deepStrictEqual(yield* recorded(2), ["300", "301"])
      const usual = yield* recorded()
      assert.deepStrictEqual([usual.length, usual[0]], [300, "2"])
      assert.deepStrictEqual(yield* recorded(0), [])
    }))

  it.effect("prints all of them, or the last so many, with the time of the clock at hand", () =>
    Effect.gen(function*() {
      const log = yield* ConnectionLog.ConnectionLog
      const all = log.asString()
      assert.strictEqual(yield* all, "")
      yield* report("first")
      yield* TestClock.adjust("90 seconds")
      yield* report("second")
      const second = "1970-01-01T00:01:30.000Z tcp tcp-0 second: something"
      assert.strictEqual(yield* all, `1970-01-01T00:00:00.000Z tcp tcp-0 first: something\n${second}`)
      assert.strictEqual(yield* log.asString(1), second)
      assert.strictEqual(yield* log.asString(0), "")
      assert.strictEqual(yield* log.asString(99), yield* all)
      assert.strictEqual((yield* log.events)[1]?.at, 90_000)
    }).pipe(Effect.provide(ConnectionLog.layer())))

  it.effect("prints an event as one line, whatever its detail holds", () =>
    Effect.gen(function*() {
      const report = yield* EventSink
      report({ source: "ssh", id: "x", event: "failed", detail: "one\r\ntwo\nthree" })
      assert.match(yield* asString(), /failed: one two three$/)
    }).pipe(Effect.provide(ConnectionLog.layer())))

  it.effect("gives a copy of its events", () =>
    Effect.gen(function*() {
      const before = yield* events
      yield* report("later")
      assert.strictEqual(before.length, 0)
    }).pipe(Effect.provide(ConnectionLog.layer())))

  it.effect("is not needed: without it events go nowhere", () => report("nowhere"))
})

describe("ConnectionLog.layerFile", () => {
  const logging = (file: string, maxEvents?: number) =>
    ConnectionLog.layerFile({ file, maxEvents }).pipe(Layer.provide(NodeFileSystem.layer))

  it.live("appends every event to the file, also those that memory forgets, and is done with its scope", () =>
    leavesNothing(Effect.gen(function*() {
      const file = `${yield* temporaryFolder}/connections.log`
      for (const round of ["a", "b"]) {
        const inMemory = yield* Effect.gen(function*() {
          for (let i = 0; i < 100; i++) yield* report(`${round}${i}`)
          return yield* events
        }).pipe(Effect.provide(logging(file, 3)))
        assert.strictEqual(inMemory.length, 3)
      }
      const lines = Fs.readFileSync(file, "utf8").split("\n")
      assert.strictEqual(lines.length, 201)
      assert.match(lines[0] ?? "", /^\d{4}-.*Z tcp tcp-0 a0: something$/)
      assert.match(lines[199] ?? "", / b99: /)
      assert.strictEqual(lines[200], "")
    })))

  it.live("writes what was recorded when the program is interrupted", () =>
    leavesNothing(Effect.gen(function*() {
      const file = `${yield* temporaryFolder}/connections.log`
      const exit = yield* Effect.exit(
        Effect.andThen(report("last"), Effect.interrupt).pipe(Effect.provide(logging(file)))
      )
      assert.isTrue(Exit.hasInterrupts(exit))
      assert.match(Fs.readFileSync(file, "utf8"), / last: something\n$/)
    })))

  it.live("fails when the file cannot be opened", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.provide(Effect.void, logging("/missing/folder/connections.log")))
      assert.strictEqual(error._tag, "PlatformError")
    }))
})

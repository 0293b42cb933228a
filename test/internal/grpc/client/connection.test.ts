import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Https from "node:https"
import type { Duplex } from "node:stream"
import * as Connection from "../../../../src/internal/grpc/client/connection.ts"
import { KeepAlive, type KeepAliveSettings } from "../../../../src/internal/net/keepAlive.ts"
import * as Target from "../../../../src/internal/net/target.ts"
import * as TlsHandshake from "../../../../src/internal/tls/handshake.ts"
import * as TlsOptions from "../../../../src/internal/tls/options.ts"
import * as Dialer from "../../../../src/services/Dialer.ts"
import * as TestCertificates from "../../../../src/testing/TestCertificates.ts"
import { answered, call, over, until } from "../../../support/channels.ts"
import { frame, goaway, http2Peer } from "../../../support/http2.ts"
import { leavesNothing } from "../../../support/leaks.ts"
import { describeOnNetworks } from "../../../support/network.ts"
import { turn } from "../../../support/scripted.ts"
import { blackhole, closedBy, closedPort, rawServer } from "../../../support/servers.ts"

const settings = { connectTimeout: Duration.seconds(10), flowControlWindow: 1024 * 1024 }

const connect = (target: Target.Target, keepAlive?: KeepAlive, onRoom = () => {}) =>
  Dialer.Dialer.use((path) => Connection.connect(target, { ...settings, path }, keepAlive, onRoom))

const localhost = (port: number) => Result.getOrThrow(Target.parse({ host: "127.0.0.1", port }))

/** A connection to a server that says its settings and then what the test writes. */
const connectTo = Effect.fnUntraced(function*(keepAlive?: KeepAlive) {
  const server = yield* rawServer()
  const connecting = yield* Effect.forkChild(connect(localhost(server.port), keepAlive), { startImmediately: true })
  const socket = yield* server.next
  socket.resume().write(frame("settings"))
  return { connection: yield* Fiber.join(connecting), socket }
})

const keepAlive = (settings: Partial<KeepAliveSettings> = {}) =>
  Effect.clockWith((clock) =>
    Effect.sync(() =>
      new KeepAlive(
        { interval: Duration.seconds(60), timeout: Duration.seconds(20), withoutCalls: false, ...settings },
        clock
      )
    )
  )

/** The PING frames that a client sends. */
const pings = (socket: Duplex) => {
  const asked: Array<Buffer> = []
  let answered = 0
  let rest = Buffer.alloc(0)
  socket.on("data", (piece: Buffer) => {
    rest = Buffer.concat([rest, piece])
    if (rest.toString("latin1", 0, preface.length) === preface) rest = rest.subarray(preface.length)
    for (let size: number; rest.length >= 9 && rest.length >= (size = 9 + rest.readUIntBE(0, 3));) {
      if (rest[3] === 6 && rest[4] === 0) asked.push(rest.subarray(9, size))
      if (rest[3] === 6 && rest[4] === 1) answered++
      rest = rest.subarray(size)
    }
  })
  return {
    asked,
    answer: () => socket.write(frame("ping", asked.at(-1), 1)),
    /** Completes when the client has read everything that was sent to it. */
    settled: Effect.suspend(() => {
      const before = answered
      socket.write(frame("ping", Buffer.alloc(8)))
      return until(() => answered > before)
    })
  }
}

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

describe("connect", () => {
  const refusal = (connecting: ReturnType<typeof connect>) =>
    Effect.map(Effect.flip(connecting), ({ hop, reason }) => [hop, reason._tag, reason.message] as const)

  it.live("fails as the dial does", () =>
    leavesNothing(
      Effect.gen(function*() {
        const [hop, reason] = yield* refusal(connect(localhost(yield* closedPort)))
        assert.deepStrictEqual([hop, reason], ["direct", "Refused"])
      }).pipe(Effect.provide(Dialer.layer))
    ))

  it.effect("gives up a server that accepts and says nothing, by the program's clock", () =>
    leavesNothing(
      Effect.gen(function*() {
        const server = yield* rawServer()
        const fiber = yield* Effect.forkChild(refusal(connect(localhost(server.port))))
        const socket = yield* server.next
        const closed = yield* Effect.forkChild(closedBy(socket), { startImmediately: true })
        yield* turn
        yield* TestClock.adjust("10 seconds")
        const [hop, reason, message] = yield* Fiber.join(fiber)
        assert.deepStrictEqual([hop, reason], ["http/2", "ConnectTimeout"])
        assert.include(message, "the server's HTTP/2 settings")
        yield* Fiber.join(closed)
      }).pipe(Effect.provide(Dialer.layer))
    ))

  const answers = {
    "HTTP/1.1": [
      "HTTP/1.1 400 Bad Request\r\n\r\n",
      /^no HTTP\/2: the server does not keep to HTTP\/2 \(Protocol error\)$/
    ],
    "nothing that makes sense": ["\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", /^no HTTP\/2: /],
    "that it goes away": [Buffer.concat([goaway(0, "full")]), /^no HTTP\/2: /]
  } as const
  for (const [name, [answer, detail]] of Object.entries(answers)) {
    it.live(`says so when the server answers with ${name}`, () =>
      leavesNothing(
        Effect.gen(function*() {
          const server = yield* rawServer()
          yield* Effect.forkScoped(
            Effect.andThen(server.next, (socket) => Effect.sync(() => socket.resume().write(answer)))
          )
          const [hop, reason, message] = yield* refusal(connect(localhost(server.port)))
          assert.deepStrictEqual([hop, reason], ["http/2", "Unknown"])
          assert.match(message, detail)
        }).pipe(Effect.provide(Dialer.layer))
      ))
  }

  it.live("says so when a server in TLS speaks HTTP/1.1 only", () =>
    leavesNothing(
      Effect.gen(function*() {
        const authority = yield* TestCertificates.authority()
        const { cert, key } = yield* authority.issue({ names: ["127.0.0.1"] })
        const server = yield* Effect.acquireRelease(
          Effect.callback<Https.Server>((resume) => {
            const server = Https.createServer({ cert, key, ALPNProtocols: [] })
            server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
          }),
          (server) =>
            Effect.callback<void>((resume) => {
              server.close(() => resume(Effect.void))
              server.closeAllConnections()
            })
        )
        const address = server.address()
        assert(typeof address === "object" && address !== null)
        const tls = TlsHandshake.tlsHop(yield* TlsOptions.resolve({ ca: authority.certificate, alpn: ["h2"] }))
        const path = yield* Dialer.Dialer
        const [hop, reason, message] = yield* refusal(
          Effect.provideService(connect(localhost(address.port)), Dialer.Dialer, Dialer.through(path, tls))
        )
        assert.deepStrictEqual([hop, reason], ["http/2", "Unknown"])
        assert.match(message, /^no HTTP\/2: .*; it did not choose h2 in the TLS handshake$/)
      }).pipe(Effect.provide(Dialer.layer))
    ))

  for (const how of ["end", "destroy", "resetAndDestroy"] as const) {
    it.live(`says so when the server closes the connection at once (${how})`, () =>
      leavesNothing(
        Effect.gen(function*() {
          const server = yield* rawServer()
          yield* Effect.forkScoped(
            Effect.andThen(server.next, (socket) => Effect.sync(() => socket.resume()[how]()))
          )
          const [hop, reason, message] = yield* refusal(connect(localhost(server.port)))
          assert.deepStrictEqual([hop, reason], ["http/2", "Unknown"])
          assert.match(message, /^no HTTP\/2: the connection was lost: /)
        }).pipe(Effect.provide(Dialer.layer))
      ))
  }

  it.live("leaves nothing behind when it is interrupted while it dials", () =>
    leavesNothing(
      Effect.gen(function*() {
        const fiber = yield* Effect.forkChild(connect(localhost(yield* blackhole)))
        yield* turn
        yield* Fiber.interrupt(fiber)
      }).pipe(Effect.provide(Dialer.layer))
    ))

  it.live("leaves nothing behind when it is interrupted while the server is silent", () =>
    leavesNothing(
      Effect.gen(function*() {
        const server = yield* rawServer()
        const fiber = yield* Effect.forkChild(connect(localhost(server.port)))
        const socket = yield* server.next
        // its first words have come: it waits for the answer
        yield* Effect.callback<void>((resume) => void socket.once("data", () => resume(Effect.void)).resume())
        const closed = yield* Effect.forkChild(closedBy(socket), { startImmediately: true })
        yield* Fiber.interrupt(fiber)
        yield* Fiber.join(closed)
      }).pipe(Effect.provide(Dialer.layer))
    ))
})

describeOnNetworks("a gRPC connection", (test) => {
  test("says the windows that it was given, takes no pushes, and knows its calls", () =>
    Effect.gen(function*() {
      const peer = yield* http2Peer()
      const connection = yield* connect(peer.target)
      const session = yield* peer.nextSession
      assert.strictEqual(session.remoteSettings.initialWindowSize, settings.flowControlWindow)
      assert.strictEqual(session.remoteSettings.enablePush, false)
      while (session.state.remoteWindowSize !== settings.flowControlWindow) yield* turn
      assert.isTrue(connection.usable())
      assert.isUndefined(connection.endedBy())
      assert.isNumber(connection.idleSince())
      const running = call(connection)
      assert.isUndefined(connection.idleSince())
      yield* answered(running, peer)
      assert.isNumber(connection.idleSince())
    }))

  test("understands a server that has spoken long before it is listened to", () =>
    Effect.gen(function*() {
      const peer = yield* http2Peer()
      const path = yield* Dialer.Dialer
      const slow = Dialer.Dialer.of({
        ...path,
        dial: (target, options) => Effect.tap(path.dial(target, options), () => Effect.sleep("100 millis"))
      })
      const connection = yield* Effect.provideService(connect(peer.target), Dialer.Dialer, slow)
      const running = call(connection)
      yield* answered(running, peer)
      assert.strictEqual(running.stream.rstCode, 0)
    }))

  test("has as many calls as the server allows, and says when there is room for another one", () =>
    Effect.gen(function*() {
      const peer = yield* http2Peer({ settings: { maxConcurrentStreams: 2 } })
      let room = 0
      const connection = yield* connect(peer.target, undefined, () => void room++)
      const session = yield* peer.nextSession
      const running = [call(connection), call(connection)]
      assert.isFalse(connection.usable())
      assert.isUndefined(connection.endedBy())
      yield* answered(running[0]!, peer)
      assert.isTrue(connection.usable())
      assert.strictEqual(room, 1)
      yield* answered(running[1]!, peer)
      assert.strictEqual(room, 1)
      const aside = call(connection.aside())
      assert.isNumber(connection.idleSince())
      const other = call(connection)
      assert.isFalse(connection.usable())
      yield* answered(aside, peer)
      assert.isTrue(connection.usable())
      assert.strictEqual(room, 2)
      yield* answered(other, peer)
      session.settings({ maxConcurrentStreams: 0 })
      yield* until(() => !connection.usable())
      session.settings({ maxConcurrentStreams: 1 })
      yield* until(() => connection.usable())
      assert.strictEqual(room, 3)
    }))

  test("finishes what is under way when the server goes away, and takes no more", () =>
    Effect.gen(function*() {
      const peer = yield* http2Peer()
      const connection = yield* connect(peer.target)
      const session = yield* peer.nextSession
      const running = call(connection)
      const stream = yield* peer.nextStream
      const isOver = yield* Effect.forkChild(connection.over, { startImmediately: true })
      session.close()
      yield* connection.retired
      assert.isFalse(connection.usable())
      assert.strictEqual(connection.endedBy(), "the server is going away (NO_ERROR)")
      connection.retire("for another reason")
      assert.strictEqual(connection.endedBy(), "the server is going away (NO_ERROR)")
      yield* turn
      assert.isUndefined(isOver.pollUnsafe())
      stream.respond({ ":status": 200 }, { endStream: true })
      stream.resume()
      running.stream.end()
      yield* over(running)
      assert.strictEqual(running.stream.rstCode, 0)
      yield* Fiber.join(isOver)
    }))

  test("tells its calls why it was lost", () =>
    Effect.gen(function*() {
      const peer = yield* http2Peer()
      const connection = yield* connect(peer.target)
      const running = call(connection)
      yield* peer.nextStream
      peer.duplexes[0]?.destroy()
      yield* over(running)
      assert.match(String(running.endedBy()), /^the connection was lost: /)
      yield* connection.over
    }))

  test("finishes what is under way when it is retired, and tells calls of what happens to it then", () =>
    Effect.gen(function*() {
      const peer = yield* http2Peer()
      const connection = yield* connect(peer.target)
      const running = [call(connection), call(connection)]
      connection.retire("nobody wants it")
      assert.isFalse(connection.usable())
      assert.strictEqual(connection.endedBy(), "nobody wants it")
      yield* answered(running[0]!, peer)
      assert.strictEqual(running[0]!.stream.rstCode, 0)
      yield* peer.nextStream
      peer.duplexes[0]?.destroy()
      yield* over(running[1]!)
      assert.match(String(running[1]!.endedBy()), /^the connection was lost: /)
    }))

  test("goes with its scope, and tells the server", () =>
    Effect.gen(function*() {
      const peer = yield* http2Peer()
      const scope = yield* Scope.make()
      const connection = yield* Scope.provide(connect(peer.target), scope)
      const session = yield* peer.nextSession
      const code = yield* Effect.forkChild(
        Effect.callback<number>((resume) => void session.once("goaway", (code) => resume(Effect.succeed(code)))),
        { startImmediately: true }
      )
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* Fiber.join(code), 0)
      assert.isFalse(connection.usable())
      yield* connection.over
    }))
})

describe("a gRPC connection in TLS", () => {
  it.effect("works as any other, and its bytes are counted for keep-alive", () =>
    leavesNothing(
      Effect.gen(function*() {
        const authority = yield* TestCertificates.authority()
        const certificate = yield* TlsOptions.resolve({
          ...(yield* authority.issue({ names: ["127.0.0.1"] })),
          alpn: ["h2"]
        })
        const server = yield* rawServer()
        const client = TlsHandshake.tlsHop(yield* TlsOptions.resolve({ ca: authority.certificate, alpn: ["h2"] }))
        const path = yield* Dialer.Dialer
        const connecting = yield* Effect.forkChild(
          Effect.provideService(
            connect(localhost(server.port), yield* keepAlive()),
            Dialer.Dialer,
            Dialer.through(path, client)
          ),
          { startImmediately: true }
        )
        const socket = yield* Effect.flatMap(server.next, (socket) => TlsHandshake.server(socket, certificate))
        const { asked, settled } = pings(socket)
        socket.write(frame("settings"))
        const connection = yield* Fiber.join(connecting)
        const running = call(connection)
        yield* TestClock.adjust("1 minute")
        yield* until(() => asked.length === 1)
        yield* settled
        yield* TestClock.adjust("20 seconds")
        assert.isTrue(connection.usable())
        yield* TestClock.adjust("20 seconds")
        yield* over(running)
        assert.strictEqual(running.endedBy(), "keep-alive timeout")
      }).pipe(Effect.provide(Dialer.layer))
    ))
})

describe("a gRPC connection to a server that misbehaves", () => {
  it.live("tells its calls what a server says that goes away for good", () =>
    leavesNothing(
      Effect.gen(function*() {
        const { connection, socket } = yield* connectTo()
        const running = call(connection)
        socket.write(goaway(11, "too_many_pings"))
        yield* over(running)
        assert.strictEqual(running.endedBy(), "the server is going away (ENHANCE_YOUR_CALM): too_many_pings")
      }).pipe(Effect.provide(Dialer.layer))
    ))

  it.live("shows of a server's words only what can be printed", () =>
    leavesNothing(
      Effect.gen(function*() {
        const { connection, socket } = yield* connectTo()
        socket.write(goaway(77, "bye\n\x1b[31m\0 now"))
        yield* connection.retired
        assert.strictEqual(connection.endedBy(), "the server is going away (error 77): bye [31m now")
      }).pipe(Effect.provide(Dialer.layer))
    ))

  it.live("is lost when the server ends its side", () =>
    leavesNothing(
      Effect.gen(function*() {
        const { connection, socket } = yield* connectTo()
        const running = call(connection)
        socket.end()
        yield* over(running)
        assert.strictEqual(running.endedBy(), "the connection was lost: the server closed it")
      }).pipe(Effect.provide(Dialer.layer))
    ))

  it.live("is lost when the connection is reset", () =>
    leavesNothing(
      Effect.gen(function*() {
        const { connection, socket } = yield* connectTo()
        const running = call(connection)
        // a write that fails would be told of the reset instead
        yield* pings(socket).settled
        socket.resetAndDestroy()
        yield* over(running)
        assert.strictEqual(running.endedBy(), "the connection was lost: ECONNRESET")
      }).pipe(Effect.provide(Dialer.layer))
    ))
})

describe("keep-alive", () => {
  const test = (title: string, body: () => Effect.Effect<void, unknown, Dialer.Dialer | Scope.Scope>) =>
    it.effect(title, () => leavesNothing(body().pipe(Effect.provide(Dialer.layer))))

  test("asks a server that calls wait for, and goes on while it answers", () =>
    Effect.gen(function*() {
      const { connection, socket } = yield* connectTo(yield* keepAlive())
      const { answer, asked, settled } = pings(socket)
      yield* TestClock.adjust("2 minutes")
      yield* settled
      assert.strictEqual(asked.length, 0)
      const running = call(connection)
      for (let times = 1; times <= 3; times++) {
        yield* TestClock.adjust("1 minute")
        yield* until(() => asked.length === times)
        answer()
        yield* settled
      }
      assert.isTrue(connection.usable())
      running.cancel("it has waited long enough")
    }))

  test("gives up a server that does not answer, and says so to its calls", () =>
    Effect.gen(function*() {
      const { connection, socket } = yield* connectTo(yield* keepAlive())
      const { asked } = pings(socket)
      const running = call(connection)
      yield* TestClock.adjust("1 minute")
      yield* until(() => asked.length === 1)
      yield* TestClock.adjust("19 seconds")
      assert.isTrue(connection.usable())
      const closed = yield* Effect.forkChild(closedBy(socket), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      yield* over(running)
      assert.strictEqual(running.endedBy(), "keep-alive timeout")
      yield* Fiber.join(closed)
    }))

  test("waits for the answer of a server that sends something else", () =>
    Effect.gen(function*() {
      const { connection, socket } = yield* connectTo(yield* keepAlive())
      const { asked, settled } = pings(socket)
      call(connection)
      yield* TestClock.adjust("1 minute")
      yield* until(() => asked.length === 1)
      yield* settled
      yield* TestClock.adjust("20 seconds")
      assert.isTrue(connection.usable())
      yield* TestClock.adjust("20 seconds")
      yield* connection.over
      assert.strictEqual(connection.endedBy(), "keep-alive timeout")
    }))

  test("gives an answer the time to come when the clock is turned by hours at once", () =>
    Effect.gen(function*() {
      const { connection, socket } = yield* connectTo(yield* keepAlive())
      const { answer, asked, settled } = pings(socket)
      const running = call(connection)
      yield* TestClock.adjust("1 hour")
      yield* until(() => asked.length === 1)
      answer()
      yield* settled
      assert.isTrue(connection.usable())
      yield* TestClock.adjust("1 hour")
      yield* until(() => asked.length === 2)
      yield* over(running)
      assert.strictEqual(running.endedBy(), "keep-alive timeout")
    }))

  test("asks without calls too when it is told to", () =>
    Effect.gen(function*() {
      const { connection, socket } = yield* connectTo(yield* keepAlive({ withoutCalls: true }))
      const { asked } = pings(socket)
      yield* TestClock.adjust("1 minute")
      yield* until(() => asked.length === 1)
      yield* TestClock.adjust("20 seconds")
      yield* connection.over
      assert.strictEqual(connection.endedBy(), "keep-alive timeout")
    }))

  test("asks half as often after a server has complained", () =>
    Effect.gen(function*() {
      const shared = yield* keepAlive({ withoutCalls: true })
      const first = yield* connectTo(shared)
      first.socket.write(goaway(11, "too_many_pings"))
      yield* first.connection.over
      const { connection, socket } = yield* connectTo(shared)
      const { asked, settled } = pings(socket)
      yield* TestClock.adjust("119 seconds")
      yield* settled
      assert.strictEqual(asked.length, 0)
      yield* TestClock.adjust("1 second")
      yield* until(() => asked.length === 1)
      assert.isTrue(connection.usable())
    }))
})

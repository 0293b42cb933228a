import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { DialError, Refused } from "../../src/errors/DialError.ts"
import { ReadTimeout, TcpError } from "../../src/errors/TcpError.ts"
import type * as Connection from "../../src/services/Connection.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import { leavesNothing } from "../support/leaks.ts"

/** The reason of an error, as a plain record to compare with. */
const reasonOf = <A, E extends { readonly _tag: string }>(effect: Effect.Effect<A, E>) =>
  Effect.map(
    Effect.flip(effect),
    (error): Readonly<Record<string, unknown>> =>
      "reason" in error && error.reason instanceof Object ? Object.fromEntries(Object.entries(error.reason)) : {}
  )

const tcp = TcpClient.TcpClient

const upperCase: TcpClient.TestServer = (connection) =>
  Stream.runForEach(
    connection.reads,
    (bytes) => connection.write(new TextDecoder().decode(bytes).toUpperCase())
  )

const Upper = TcpClient.layerTest({ servers: { "upper:7": upperCase } })

describe("TcpClient.layerTest", () => {
  it.effect("connects a client with the handler of its target", () =>
    Effect.gen(function*() {
      const connection = yield* (yield* tcp).connect("upper:7")
      yield* connection.write("hello\n")
      assert.strictEqual(yield* connection.readLine(), "HELLO")
      yield* connection.closeWrite
      assert.deepStrictEqual(yield* reasonOf(connection.read()), { _tag: "EndOfStream", received: 0 })
    }).pipe(leavesNothing, Effect.provide(Upper)))

  it.effect("knows a target in every way to write it", () =>
    Effect.gen(function*() {
      const client = yield* tcp
      for (const target of ["[::1]:80", { host: "::1", port: 80 }, { path: "/run/app.sock" }]) {
        assert.strictEqual(yield* client.requestString(target, "a\n"), "A\n")
      }
    }).pipe(Effect.provide(TcpClient.layerTest({ servers: { "[0::1]:80": upperCase, "/run/app.sock": upperCase } }))))

  it.effect("answers requests, each on a connection of its own", () => {
    let connections = 0
    const server: TcpClient.TestServer = (connection) =>
      Effect.gen(function*() {
        connections++
        yield* connection.write(`${yield* connection.readLine()} ${connections}\n`)
      })
    return Effect.gen(function*() {
      const client = yield* tcp
      assert.strictEqual(yield* client.requestString("count:1", "first\n"), "first 1\n")
      assert.strictEqual(yield* client.requestString("count:1", "second\n"), "second 2\n")
    }).pipe(leavesNothing, Effect.provide(TcpClient.layerTest({ servers: { "count:1": server } })))
  })

  it.effect("says of other targets what a network says", () =>
    Effect.gen(function*() {
      const client = yield* tcp
      const refusal = (target: string) => Effect.flip(client.connect(target))
      const unknown = yield* refusal("nobody.test:1")
      assert.instanceOf(unknown, DialError)
      assert.strictEqual(unknown.reason._tag, "NameNotFound")
      assert.strictEqual(unknown.hop, "direct")
      assert.strictEqual(unknown.target, "nobody.test:1")
      for (const target of ["upper:8", "127.0.0.1:7", "localhost:7"]) {
        const error = yield* refusal(target)
        assert.strictEqual(error._tag === "DialError" ? error.reason._tag : error._tag, "Refused", target)
      }
      const invalid = yield* refusal("no port")
      assert.strictEqual(invalid._tag === "DialError" ? invalid.reason._tag : invalid._tag, "InvalidTarget")
    }).pipe(Effect.provide(Upper)))

  it.effect("asks connect who answers at a target, and fails as it says", () => {
    const asked: Array<unknown> = []
    return Effect.gen(function*() {
      const client = yield* tcp
      assert.strictEqual(yield* client.requestString("any:1", "a\n", { tls: true, proxy: "socks5://p:1" }), "A\n")
      const error = yield* Effect.flip(client.connect("down:1"))
      assert.deepInclude(error, { target: "down:1", hop: "direct", reason: new Refused({ address: "down:1" }) })
      assert.deepStrictEqual(asked, [["any:1", true, "socks5://p:1"], ["down:1", undefined, undefined]])
    }).pipe(Effect.provide(TcpClient.layerTest({
      connect: (target, options) => {
        asked.push([target, options.tls, options.proxy])
        return target === "down:1"
          ? Effect.fail(new Refused({ address: target }))
          : Effect.succeed<TcpClient.TestServer>(upperCase)
      }
    })))
  })

  it.effect("gives connect as long as a dial may take", () =>
    Effect.gen(function*() {
      const client = yield* tcp
      const dialing = yield* Effect.forkChild(Effect.flip(client.connect("silent:1", { connectTimeout: "3 seconds" })))
      const byDefault = yield* Effect.forkChild(Effect.flip(client.connect("silent:1")))
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual((yield* Fiber.join(dialing)).message.includes("3s"), true)
      assert.isUndefined(byDefault.pollUnsafe())
      yield* TestClock.adjust("7 seconds")
      assert.include((yield* Fiber.join(byDefault)).message, "silent:1")
    }).pipe(Effect.provide(TcpClient.layerTest({ connect: () => Effect.never }))))

  it.effect("is done with all that was said before the clock goes on", () => {
    const slow: TcpClient.TestServer = (connection) =>
      Effect.gen(function*() {
        for (const pause of ["1 second", "2 seconds"] as const) {
          const line = yield* connection.readLine()
          yield* Effect.sleep(pause)
          yield* connection.write(`${line} after ${pause}\n`)
        }
      })
    return Effect.gen(function*() {
      const client = yield* tcp
      const talking = yield* Effect.forkChild(Effect.gen(function*() {
        const connection = yield* client.connect("slow:1")
        const answers: Array<string> = []
        for (const line of ["a", "b"]) {
          yield* connection.write(`${line}\n`)
          answers.push(yield* connection.readLine())
        }
        return answers
      }))
      yield* TestClock.adjust("1 second")
      yield* TestClock.adjust("1 second")
      assert.isUndefined(talking.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(talking), ["a after 1 second", "b after 2 seconds"])
    }).pipe(Effect.scoped, Effect.provide(TcpClient.layerTest({ servers: { "slow:1": slow } })))
  })

  it.effect("lets a request run out of time, by Effect's clock", () =>
    Effect.gen(function*() {
      const client = yield* tcp
      const asking = yield* Effect.forkChild(reasonOf(client.request("mute:1", "a\n", { timeout: "5 seconds" })))
      yield* TestClock.adjust("5 seconds")
      assert.deepInclude(yield* Fiber.join(asking), { _tag: "ReadTimeout", received: 2 })
    }).pipe(
      leavesNothing,
      Effect.provide(TcpClient.layerTest({
        servers: { "mute:1": (connection) => Effect.andThen(connection.write("so"), Effect.never) }
      }))
    ))

  it.effect("lets the server end the conversation and go on listening to what it is told", () =>
    Effect.gen(function*() {
      const heard = yield* Deferred.make<string, TcpError>()
      const server: TcpClient.TestServer = (connection) =>
        Effect.andThen(
          Effect.andThen(connection.write("bye\n"), connection.closeWrite),
          Deferred.into(connection.readString({ marker: "." }), heard)
        )
      yield* Effect.gen(function*() {
        const connection = yield* (yield* tcp).connect("half:1")
        assert.strictEqual(yield* connection.readString({ marker: "never" }), "bye\n")
        yield* connection.write("still here.")
        assert.strictEqual(yield* Deferred.await(heard), "still here.")
      }).pipe(Effect.scoped, Effect.provide(TcpClient.layerTest({ servers: { "half:1": server } })))
    }))

  it.effect("tells the handler when the client goes away, in order or not", () =>
    Effect.gen(function*() {
      const ends: Array<string> = []
      const server: TcpClient.TestServer = (connection) =>
        Effect.flatMap(Effect.flip(Effect.forever(connection.read())), ({ reason }) =>
          Effect.sync(() => {
            ends.push(reason._tag)
          }))
      yield* Effect.gen(function*() {
        const client = yield* tcp
        yield* Effect.scoped(Effect.flatMap(client.connect("s:1"), (connection) => connection.write("a")))
        const holding = yield* Effect.forkChild(Effect.scoped(Effect.andThen(client.connect("s:1"), Effect.never)))
        yield* Effect.yieldNow
        yield* Fiber.interrupt(holding)
        yield* Effect.yieldNow
      }).pipe(leavesNothing, Effect.provide(TcpClient.layerTest({ servers: { "s:1": server } })))
      assert.deepStrictEqual(ends, ["EndOfStream", "EndOfStream"])
    }))

  it.effect("fails writes to a server that has closed its connection", () =>
    Effect.gen(function*() {
      const connection = yield* (yield* tcp).connect("s:1")
      const reason = yield* reasonOf(Effect.forever(connection.write("a")))
      assert.strictEqual(reason["_tag"], "Reset")
    }).pipe(leavesNothing, Effect.provide(TcpClient.layerTest({ servers: { "s:1": () => Effect.void } }))))

  it.effect("lets both sides go on in TLS", () =>
    Effect.gen(function*() {
      const { cert, key } = yield* TestCertificates.selfSigned({ names: ["s"] })
      const server: TcpClient.TestServer = (connection) =>
        Effect.gen(function*() {
          yield* connection.readLine()
          const secure = yield* Effect.orDie(connection.upgradeTls({ cert, key }, { reply: "go ahead\n" }))
          yield* secure.write(`secret ${yield* secure.readLine()}\n`)
        }).pipe(Effect.scoped)
      yield* Effect.gen(function*() {
        const connection = yield* (yield* tcp).connect("s:1")
        yield* connection.write("STARTTLS\n")
        assert.strictEqual(yield* connection.readLine(), "go ahead")
        const secure = yield* connection.upgradeTls({ ca: cert, servername: "s" })
        yield* secure.write("word\n")
        assert.strictEqual(yield* secure.readLine(), "secret word")
      }).pipe(leavesNothing, Effect.provide(TcpClient.layerTest({ servers: { "s:1": server } })))
    }))

  it.effect("holds a writer back until somebody reads, and loses nothing", () =>
    Effect.gen(function*() {
      const go = yield* Deferred.make<void>()
      const read = yield* Deferred.make<number, TcpError>()
      const server: TcpClient.TestServer = (connection) =>
        Effect.andThen(
          Deferred.await(go),
          Deferred.into(Effect.map(connection.readExactly(5_000_000), ({ length }) => length), read)
        )
      yield* Effect.gen(function*() {
        const connection = yield* (yield* tcp).connect("s:1")
        const writing = yield* Effect.forkChild(connection.write(new Uint8Array(5_000_000)))
        for (let turns = 0; turns < 100; turns++) yield* Effect.yieldNow
        assert.isUndefined(writing.pollUnsafe())
        yield* Deferred.succeed(go, undefined)
        yield* Fiber.join(writing)
        assert.strictEqual(yield* Deferred.await(read), 5_000_000)
      }).pipe(leavesNothing, Effect.provide(TcpClient.layerTest({ servers: { "s:1": server } })))
    }))

  it.effect("says on the client's side that a handler died", () =>
    Effect.gen(function*() {
      const connection = yield* (yield* tcp).connect("bug:1")
      yield* connection.write("a\n")
      const reason = yield* reasonOf(connection.readLine())
      assert.strictEqual(reason["_tag"], "Unknown")
      assert.strictEqual(reason["detail"], "the handler of bug:1 died: expected b, not a")
    }).pipe(
      leavesNothing,
      Effect.provide(TcpClient.layerTest({
        servers: {
          "bug:1": (connection) =>
            Effect.flatMap(connection.readLine(), (line) => Effect.die(new Error(`expected b, not ${line}`)))
        }
      }))
    ))

  it.effect("answers requests without a connection where it is told to", () => {
    const asked: Array<unknown> = []
    return Effect.gen(function*() {
      const client = yield* tcp
      assert.strictEqual(yield* client.requestString("db:1", "ä", { encoding: "latin1" }), "û")
      assert.deepStrictEqual(yield* client.request({ host: "db", port: 1 }, "ä"), new Uint8Array([0xfb]))
      assert.deepStrictEqual(asked, [["db:1", [0xe4]], ["db:1", [0xc3, 0xa4]]])
      assert.strictEqual((yield* reasonOf(client.request("slow:1", "a")))["_tag"], "ReadTimeout")
      assert.strictEqual((yield* reasonOf(client.requestString("down:1", "a")))["_tag"], "Refused")
      assert.strictEqual(yield* client.requestString("text:1", "a"), "ö")
    }).pipe(Effect.provide(TcpClient.layerTest({
      request: (target, data) => {
        if (target === "slow:1") {
          return Effect.fail(new TcpError({ reason: new ReadTimeout({ after: Duration.seconds(1), received: 0 }) }))
        }
        if (target === "down:1") {
          return Effect.fail(new DialError({ target, hop: "direct", reason: new Refused({ address: target }) }))
        }
        if (target === "text:1") return Effect.succeed("ö")
        asked.push([target, [...data]])
        return Effect.succeed(new Uint8Array([0xfb]))
      }
    })))
  })

  it.effect("ends a handler with its layer", () =>
    Effect.gen(function*() {
      const ended = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
      const server: TcpClient.TestServer = () => Effect.onExit(Effect.never, (exit) => Deferred.succeed(ended, exit))
      yield* Effect.scoped(Effect.flatMap(tcp, (client) => client.connect("s:1"))).pipe(
        Effect.provide(TcpClient.layerTest({ servers: { "s:1": server } }))
      )
      assert.isTrue(Exit.hasInterrupts(yield* Deferred.await(ended)))
    }))

  it.effect("gives handlers what they need", () => {
    class Name extends Context.Service<Name, string>()("test/Name") {}
    const greeting = (connection: Connection.Connection) =>
      Effect.flatMap(Name, (name) => connection.write(`hello ${name}`))
    const Test: Layer.Layer<TcpClient.TcpClient, never, Name> = TcpClient.layerTest({ servers: { "s:1": greeting } })
    return Effect.gen(function*() {
      const connection = yield* (yield* tcp).connect("s:1")
      assert.strictEqual(yield* connection.readString({ marker: "." }), "hello ann")
      assert.isTrue(Option.isNone(connection.remoteAddress))
    }).pipe(Effect.scoped, Effect.provide(Test), Effect.provideService(Name, "ann"))
  })

  it.effect("opens no socket", () => {
    const before = process.getActiveResourcesInfo().filter((kind) => /TCP|Pipe/.test(kind)).length
    return Effect.gen(function*() {
      const connection = yield* (yield* tcp).connect("upper:7")
      yield* connection.write("a\n")
      yield* connection.readLine()
      assert.strictEqual(process.getActiveResourcesInfo().filter((kind) => /TCP|Pipe/.test(kind)).length, before)
    }).pipe(Effect.scoped, Effect.provide(Upper))
  })
})

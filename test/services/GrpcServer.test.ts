import { assert } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as GrpcError from "../../src/errors/GrpcError.ts"
import * as Details from "../../src/internal/grpc/wire/details.ts"
import * as GrpcServer from "../../src/services/GrpcServer.ts"
import { call, connect, note, open, serving, statusOf, textOf } from "../support/grpcServer.ts"
import { describeOnNetworks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { turns } from "../support/streams.ts"
import { eventually } from "../support/tcpServers.ts"

const echo = {
  One: GrpcServer.unary((request) => Effect.succeed({ text: `${String(request["text"])}!` })),
  Down: GrpcServer.serverStream((request) =>
    Stream.map(Stream.range(1, Number(request["text"])), (number) => ({ text: `${number}` }))
  ),
  Up: GrpcServer.clientStream((requests) =>
    Effect.map(Stream.runCollect(requests), (all) => ({ text: all.map(({ text }) => text).join(" ") }))
  ),
  Both: GrpcServer.bidi((requests) => Stream.map(requests, ({ text }) => ({ text: `${String(text)}?` })))
}

describeOnNetworks("GrpcServer", (test, network) => {
  test("answers calls of the four kinds", () =>
    Effect.gen(function*() {
      const { address } = yield* serving(echo)
      const client = yield* connect(address)
      const one = yield* call(client, "One", [note("hi")])
      assert.deepStrictEqual(one.messages.map(textOf), ["hi!"])
      assert.deepStrictEqual(statusOf(one), ["0", ""])
      assert.include(one.headers, { ":status": 200 })
      assert.strictEqual(one.headers["content-type"], "application/grpc+proto")
      const down = yield* call(client, "Down", [note("3")])
      assert.deepStrictEqual(down.messages.map(textOf), ["1", "2", "3"])
      const up = yield* call(client, "Up", ["a", "b", "c"].map(note))
      assert.deepStrictEqual(up.messages.map(textOf), ["a b c"])
      const both = open(client, "Both")
      for (const text of ["a", "b"]) {
        both.send(note(text))
        assert.strictEqual(textOf(yield* both.next), `${text}?`)
      }
      both.end()
      assert.deepStrictEqual(statusOf(yield* both.answer), ["0", ""])
    }))

  test("answers streams without messages", () =>
    Effect.gen(function*() {
      const { address } = yield* serving(echo)
      const client = yield* connect(address)
      const up = yield* call(client, "Up", [])
      assert.deepStrictEqual(up.messages.map(textOf), [""])
      const both = yield* call(client, "Both", [])
      assert.deepStrictEqual([statusOf(both), both.messages], [["0", ""], []])
    }))

  test("tells a reason of the handler with message, trailers and details, after the messages before it", () =>
    Effect.gen(function*() {
      const trailers = { text: { "x-hint": ["later"] }, binary: { "x-raw-bin": [new Uint8Array([1, 2])] } }
      const details = [{ _tag: "ErrorInfo", reason: "GONE", domain: "test", metadata: {} }] as const
      const reason = new GrpcError.NotFound({ message: "nö 100%\n", trailers, details })
      const { address } = yield* serving({
        One: GrpcServer.unary(() => Effect.fail(reason)),
        Down: GrpcServer.serverStream(() => Stream.concat(Stream.make({ text: "1" }), Stream.fail(reason)))
      })
      const client = yield* connect(address)
      for (const method of ["One", "Down"]) {
        const answer = yield* call(client, method, [note("x")])
        assert.deepStrictEqual(answer.messages.map(textOf), method === "One" ? [] : ["1"])
        assert.deepStrictEqual(statusOf(answer), ["5", "nö 100%\n"])
        assert.strictEqual(answer.status["x-hint"], "later")
        assert.strictEqual(answer.status["x-raw-bin"], "AQI")
        const packed = Buffer.from(String(answer.status["grpc-status-details-bin"]), "base64")
        assert.deepStrictEqual(Details.decode(packed), details)
      }
    }))

  test("gives the handler the metadata, and sends headers and trailers of its own", () =>
    Effect.gen(function*() {
      const seen: Array<GrpcError.Metadata> = []
      const { address } = yield* serving({
        One: GrpcServer.unary((_, call) =>
          Effect.gen(function*() {
            seen.push(call.metadata)
            yield* call.sendHeaders({ "x-served-by": "one", "x-both": ["1", "2"] })
            yield* call.setTrailers({ "x-cost": "3" })
            yield* call.setTrailers({ "x-raw-bin": new Uint8Array([255]) })
            return { text: `${call.method} for ${call.authority}` }
          })
        )
      })
      const client = yield* connect(address)
      const answer = yield* call(client, "One", [note("x")], {
        "x-who": ["ann", "bob"],
        "x-padded-bin": "AQI=",
        "x-bare-bin": "AQI,/w"
      })
      assert.deepStrictEqual(seen[0]?.text["x-who"], ["ann", "bob"])
      assert.deepStrictEqual(seen[0]?.binary, {
        "x-padded-bin": [new Uint8Array([1, 2])],
        "x-bare-bin": [new Uint8Array([1, 2]), new Uint8Array([255])]
      })
      assert.deepStrictEqual(answer.messages.map(textOf), ["test.Notes/One for server.test:80"])
      assert.strictEqual(answer.headers["x-served-by"], "one")
      assert.strictEqual(answer.headers["x-both"], "1, 2")
      assert.strictEqual(answer.status["x-cost"], "3")
      assert.strictEqual(answer.status["x-raw-bin"], "/w")
    }))

  test("sends headers before there is a message, when it is told to", () =>
    Effect.gen(function*() {
      const release = yield* Deferred.make<void>()
      const { address } = yield* serving({
        Down: GrpcServer.serverStream((_, call) =>
          Stream.fromEffect(
            Effect.andThen(call.sendHeaders({ "x-early": "yes" }), Effect.as(Deferred.await(release), { text: "1" }))
          )
        )
      })
      const client = yield* connect(address)
      const down = open(client, "Down")
      down.send(note("x"))
      down.end()
      assert.strictEqual((yield* down.headers)["x-early"], "yes")
      yield* Deferred.succeed(release, undefined)
      assert.deepStrictEqual((yield* down.answer).messages.map(textOf), ["1"])
    }))

  test("interrupts the handler when the client cancels, whatever it waits for", () =>
    Effect.gen(function*() {
      const begun = yield* Queue.unbounded<string>()
      const ended = yield* Queue.unbounded<string>()
      const watched = (name: string) =>
        Effect.onExit(
          Effect.andThen(Queue.offer(begun, name), Effect.never),
          (exit) => Exit.hasInterrupts(exit) ? Queue.offer(ended, name) : Effect.void
        )
      const { address } = yield* serving({
        One: GrpcServer.unary(() => watched("One")),
        Down: GrpcServer.serverStream(() =>
          Stream.concat(Stream.make({ text: "1" }), Stream.fromEffect(watched("Down")))
        ),
        Up: GrpcServer.clientStream((requests) => Effect.andThen(Stream.runHead(requests), watched("Up"))),
        Both: GrpcServer.bidi((requests) => Stream.mapEffect(requests, () => watched("Both")))
      })
      const client = yield* connect(address)
      for (const method of ["One", "Down", "Up", "Both"]) {
        const under = open(client, method)
        under.send(note("x"))
        if (method === "One" || method === "Down") under.end()
        assert.strictEqual(yield* Queue.take(begun), method)
        under.stream.close(8)
        assert.strictEqual(yield* Queue.take(ended), method)
      }
    }))

  test("interrupts handlers when the connection is lost, and runs what they added to their scopes", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const released = yield* Deferred.make<void>()
      const { address } = yield* serving({
        One: GrpcServer.unary(() =>
          Effect.gen(function*() {
            yield* Effect.addFinalizer(() => Deferred.succeed(released, undefined))
            yield* Deferred.succeed(begun, undefined)
            return yield* Effect.never
          })
        )
      })
      const client = yield* connect(address)
      const under = open(client, "One")
      under.send(note("x"))
      under.end()
      yield* Deferred.await(begun)
      client.destroy()
      yield* Deferred.await(released)
    }))

  test("drains: serves what is under way, and takes nothing new", () =>
    Effect.gen(function*() {
      const release = yield* Deferred.make<void>()
      const begun = yield* Deferred.make<void>()
      const scope = yield* Scope.make()
      const { address } = yield* serving({
        One: GrpcServer.unary(() =>
          Deferred.succeed(begun, undefined).pipe(
            Effect.andThen(Deferred.await(release)),
            Effect.as({ text: "done" })
          )
        )
      }, { drainTimeout: "1 hour" }).pipe(Scope.provide(scope))
      const client = yield* connect(address)
      const goaway = yield* Deferred.make<number>()
      client.once("goaway", (code) => void Deferred.doneUnsafe(goaway, Effect.succeed(code)))
      const idle = yield* connect(address)
      const idleClosed = yield* Deferred.make<void>()
      idle.once("close", () => void Deferred.doneUnsafe(idleClosed, Effect.void))
      const under = open(client, "One")
      under.send(note("x"))
      under.end()
      yield* Deferred.await(begun)
      const closing = yield* Effect.forkScoped(Scope.close(scope, Exit.void), { startImmediately: true })
      assert.strictEqual(yield* Deferred.await(goaway), 0)
      yield* Deferred.await(idleClosed)
      assert.strictEqual((yield* reasonOf(connect(address)))["_tag"], "Refused")
      assert.isUndefined(closing.pollUnsafe())
      yield* Deferred.succeed(release, undefined)
      assert.deepStrictEqual((yield* under.answer).messages.map(textOf), ["done"])
      yield* Fiber.join(closing)
    }))

  test("ends what does not finish in time as Unavailable, and waits for what its handler still has to do", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const done: Array<string> = []
      const scope = yield* Scope.make()
      const { address } = yield* serving({
        One: GrpcServer.unary(() =>
          Effect.onInterrupt(
            Effect.andThen(Deferred.succeed(begun, undefined), Effect.never),
            () => Effect.andThen(turns(20), Effect.sync(() => done.push("cleaned up")))
          )
        )
      }, { drainTimeout: 0 }).pipe(Scope.provide(scope))
      const client = yield* connect(address)
      const under = open(client, "One")
      under.send(note("x"))
      under.end()
      yield* Deferred.await(begun)
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(done, ["cleaned up"])
      assert.deepStrictEqual(statusOf(yield* under.answer), ["14", "the server is shutting down"])
    }))

  test("serves many calls at once on one connection", () =>
    Effect.gen(function*() {
      const { address } = yield* serving(echo)
      const client = yield* connect(address)
      const answers = yield* Effect.forEach(
        Array.from({ length: 50 }, (_, i) => i),
        (i) => call(client, "One", [note(`${i}`)]),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(
        answers.map(({ messages }) => messages.map(textOf)),
        answers.map((_, i) => [`${i}!`])
      )
    }))

  // a megabyte, byte by byte, would take half a minute
  if (network !== "on the test network, byte by byte") {
    test("holds a client back whose handler does not read", () =>
      Effect.gen(function*() {
        const release = yield* Deferred.make<void>()
        const { address } = yield* serving({
          Up: GrpcServer.clientStream((requests) =>
            Deferred.await(release).pipe(
              Effect.andThen(Stream.runCount(requests)),
              Effect.map((count) => ({ text: `${count}` }))
            )
          )
        }, { flowControlWindow: 65_535 })
        const client = yield* connect(address)
        const up = open(client, "Up")
        const kilobyte = note("x".repeat(1000))
        let sent = 0
        let blocked = false
        // what is written is done when HTTP/2 has taken it
        const pour = (): void => {
          if (sent === 1000) return up.end()
          sent++
          blocked = true
          up.stream.write(
            Buffer.concat([Buffer.from([0, 0, 0, kilobyte.length >> 8, kilobyte.length & 255]), kilobyte]),
            () => {
              blocked = false
              pour()
            }
          )
        }
        pour()
        yield* eventually(Effect.map(turns(300), () => blocked))
        const before = sent
        yield* turns(300)
        assert.isTrue(blocked)
        assert.strictEqual(sent, before)
        // the window, what the server holds, and what is on its way
        assert.isBelow(sent, 300)
        yield* Deferred.succeed(release, undefined)
        assert.deepStrictEqual((yield* up.answer).messages.map(textOf), ["1000"])
      }), 60_000)

    test("holds the handler's stream back when the client does not read", () =>
      Effect.gen(function*() {
        let made = 0
        const { address } = yield* serving({
          Down: GrpcServer.serverStream(() =>
            Stream.fromIterable(Array.from({ length: 2000 }, (_, i) => i)).pipe(
              Stream.rechunk(1),
              Stream.map(() => {
                made++
                return { text: "x".repeat(1000) }
              })
            )
          )
        })
        const client = yield* connect(address)
        const down = open(client, "Down", {}, { paused: true })
        down.send(note("x"))
        down.end()
        yield* down.headers
        let before = -1
        yield* eventually(Effect.map(turns(300), () => {
          const still = made === before
          before = made
          return still && made > 0
        }))
        assert.isBelow(made, 600)
        let bytes = 0
        down.stream.on("data", (chunk: Buffer) => {
          bytes += chunk.length
        })
        assert.deepStrictEqual(statusOf(yield* down.answer), ["0", ""])
        assert.strictEqual(made, 2000)
        assert.isAbove(bytes, 2_000_000)
      }), 60_000)
  }
})

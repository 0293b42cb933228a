import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Connection from "../../src/services/Connection.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import * as TestPeers from "../../src/testing/TestPeers.ts"
import { describeOnNetworks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { resetByUs } from "../support/streams.ts"

const { end, expect, expectEnd, reply, reset, run, scripted } = TestPeers

const dialStream = (peer: TestPeers.Peer) => Dialer.Dialer.use((dialer) => dialer.dial(peer.address))

const dial = (peer: TestPeers.Peer) =>
  Effect.flatMap(dialStream(peer), (stream) => Connection.fromDuplex(stream, { target: peer.address }))

/** The tag of the reason that something fails with. */
const outcome = <A, R>(effect: Effect.Effect<A, { readonly reason: { readonly _tag: string } }, R>) =>
  Effect.match(effect, { onSuccess: () => "ok", onFailure: ({ reason }) => reason._tag })

/** Goes through a script with a client that sends something and its end; gives what the peer says. */
const against = Effect.fnUntraced(function*(script: ReadonlyArray<TestPeers.Step>, sent: string) {
  const peer = yield* scripted({ script })
  const client = yield* dial(peer)
  yield* client.write(sent)
  yield* client.closeWrite
  return yield* Effect.flip(peer.done)
})

describeOnNetworks("TestPeers.scripted", (test) => {
  test("expects and replies, and writes down what happened", () =>
    Effect.gen(function*() {
      const peer = yield* scripted({
        script: [
          reply("220 ready\r\n"),
          expect("EHLO me\r\n"),
          reply(Buffer.from("250 ok\r\n")),
          expect(/^QUIT.*\r\n/),
          reply((request) => `221 ${String(request).trim()}\r\n`),
          expectEnd,
          end
        ]
      })
      const client = yield* dial(peer)
      // more than one step at once
      yield* client.write("EHLO me\r\nQUIT now\r\n")
      assert.deepStrictEqual(
        [yield* client.readLine(), yield* client.readLine(), yield* client.readLine()],
        ["220 ready", "250 ok", "221 QUIT now"]
      )
      yield* client.closeWrite
      assert.deepInclude(yield* reasonOf(client.read()), { _tag: "EndOfStream" })
      yield* peer.done
      assert.strictEqual(
        yield* peer.asString,
        [
          "#1 sent \"220 ready\\r\\n\"",
          "#1 received \"EHLO me\\r\\n\"",
          "#1 sent \"250 ok\\r\\n\"",
          "#1 received \"QUIT now\\r\\n\"",
          "#1 sent \"221 QUIT now\\r\\n\"",
          "#1 peer ended",
          "#1 ended"
        ].join("\n")
      )
      assert.deepStrictEqual((yield* peer.transcript)[1], {
        connection: 1,
        _tag: "Received",
        bytes: Uint8Array.from(Buffer.from("EHLO me\r\n"))
      })
    }))

  test("says at which step a client said something else, and resets it", () =>
    Effect.gen(function*() {
      const peer = yield* scripted({ script: [expect("one\n"), expect("two\n"), reply("never")] })
      const client = yield* dial(peer)
      yield* client.write("one\ntWo\n")
      const error = yield* Effect.flip(peer.done)
      assert.isTrue(error instanceof TestPeers.ScriptError)
      assert.deepInclude(error, { connection: 1, step: 2, expected: "\"two\\n\"" })
      assert.match(error.received, /^"tW/)
      assert.match(
        error.message,
        /^connection 1, step 2: expected "two\\n", but "tW.*" came, and byte 2 is another one$/
      )
      assert.deepInclude(yield* reasonOf(client.read()), { _tag: "Reset" })
    }))

  test("says that a client ended too early", () =>
    Effect.gen(function*() {
      const early = yield* against([expect("PING\r\n")], "PI")
      assert.strictEqual(
        early.message,
        "connection 1, step 1: expected \"PING\\r\\n\", but the client ended its side after \"PI\""
      )
      const silent = yield* against([expect(/x/)], "")
      assert.strictEqual(silent.message, "connection 1, step 1: expected /x/, but the client ended its side")
    }))

  test("says that there was more than the end", () =>
    Effect.gen(function*() {
      const error = yield* against([expect("PING\r\n"), expectEnd], "PING\r\nX")
      assert.strictEqual(error.message, "connection 1, step 2: expected the end, but \"X\" came")
    }))

  test("says that what it was to look for never came", () =>
    Effect.gen(function*() {
      const isHeader = (bytes: Uint8Array) => bytes.length > 10_000
      const error = yield* against([expect(isHeader, { maxSize: 4 })], "abcde")
      assert.strictEqual(
        error.message.replace(/"abcd.*"/, "..."),
        "connection 1, step 1: expected isHeader, but it is not in the first 4 bytes: ..."
      )
      const described = yield* against([expect(() => false, { maxSize: 4, description: "a header" })], "abcde")
      assert.strictEqual(described.expected, "a header")
    }))

  test("says that the connection broke", () =>
    Effect.gen(function*() {
      const peer = yield* scripted({ script: [expect("a"), reply("b"), expect("c")] })
      const stream = yield* dialStream(peer)
      const client = yield* Connection.fromDuplex(stream)
      yield* client.write("a")
      yield* client.readExactly(1)
      yield* resetByUs(stream)
      const error = yield* Effect.flip(peer.done)
      assert.deepInclude(error, { step: 3, expected: "\"c\"" })
      assert.match(error.detail, /connection/)
      assert.include(yield* peer.asString, "#1 peer reset")
    }))

  test("keeps a connection open after its script, and writes down what still comes", () =>
    Effect.gen(function*() {
      const peer = yield* scripted({ script: [expect("PING"), reply("PONG")] })
      const client = yield* dial(peer)
      yield* client.write("PING and more")
      assert.strictEqual(yield* client.readString({ maxSize: 4 }), "PONG")
      yield* peer.done
      assert.strictEqual(yield* peer.connections, 1)
      yield* client.closeWrite
      assert.deepInclude(yield* reasonOf(client.read()), { _tag: "EndOfStream" })
      const received = (yield* peer.transcript).flatMap((entry) =>
        entry._tag === "Received" ? [String(Buffer.from(entry.bytes))] : []
      )
      assert.strictEqual(received.join(""), "PING and more")
    }))

  test("can end its side first, and go on reading", () =>
    Effect.gen(function*() {
      const peer = yield* scripted({ script: [reply("bye"), end, expect("why?"), expectEnd] })
      const client = yield* dial(peer)
      assert.strictEqual(yield* client.readString({ maxSize: 100 }), "bye")
      assert.deepInclude(yield* reasonOf(client.read()), { _tag: "EndOfStream" })
      yield* client.write("why?")
      yield* client.closeWrite
      yield* peer.done
    }))

  test("can break the connection", () =>
    Effect.gen(function*() {
      const peer = yield* scripted({ script: [expect("x"), reset] })
      const client = yield* dial(peer)
      yield* client.write("x")
      assert.deepInclude(yield* reasonOf(client.read()), { _tag: "Reset" })
      yield* peer.done
      assert.strictEqual(yield* peer.asString, "#1 received \"x\"\n#1 reset")
    }))

  test("runs what it is given, with the services that it needs", () =>
    Effect.gen(function*() {
      class Greeting extends Context.Service<Greeting, string>()("test/Greeting") {}
      const greet = run((connection) => Greeting.use((greeting) => connection.write(greeting)))
      const peer = yield* Effect.provideService(scripted({ script: [greet, expect("x")] }), Greeting, "hello")
      const client = yield* dial(peer)
      assert.strictEqual(yield* client.readString({ maxSize: 5 }), "hello")
      yield* client.write("x")
      yield* peer.done
    }))

  test("says what failed in what it ran", () =>
    Effect.gen(function*() {
      class Oops extends Schema.TaggedError<Oops>()("Oops", {}) {
        override get message() {
          return "no luck"
        }
      }
      const peer = yield* scripted({ script: [expect("x"), run(() => Effect.fail(new Oops()))] })
      yield* Effect.flatMap(dial(peer), (client) => client.write("x"))
      const error = yield* Effect.flip(peer.done)
      assert.isTrue(error.cause instanceof Oops)
      assert.include(error.message, "no luck")
    }))

  test("says that it could not reply on a connection that is closed", () =>
    Effect.gen(function*() {
      const close = run((connection) => connection.close)
      const peer = yield* scripted({ script: [expect("a"), close, reply("x")] })
      yield* Effect.flatMap(dial(peer), (client) => client.write("a"))
      assert.deepInclude(yield* Effect.flip(peer.done), { step: 3, expected: "to send its reply" })
    }))

  test("dies of what a script throws", () =>
    Effect.gen(function*() {
      const bug = new Error("a bug in the test")
      const peer = yield* scripted({
        script: [expect(() => {
          throw bug
        })]
      })
      const client = yield* dial(peer)
      yield* client.write("x")
      const exit = yield* Effect.exit(peer.done)
      assert.isTrue(Exit.isFailure(exit) && Cause.squash(exit.cause) === bug)
    }))

  test("goes on in TLS where a step upgrades", () =>
    Effect.gen(function*() {
      const authority = yield* TestCertificates.authority()
      const certificate = yield* authority.issue({ names: ["127.0.0.1"] })
      const peer = yield* scripted({
        script: [
          expect("STARTTLS\r\n"),
          run((connection) => connection.upgradeTls(certificate, { reply: "220 go ahead\r\n" })),
          expect("secret\r\n"),
          reply("ok\r\n")
        ]
      })
      const client = yield* dial(peer)
      yield* client.write("STARTTLS\r\n")
      assert.strictEqual(yield* client.readLine(), "220 go ahead")
      const secure = yield* client.upgradeTls({ ca: authority.certificate })
      yield* secure.write("secret\r\n")
      assert.strictEqual(yield* secure.readLine(), "ok")
      yield* peer.done
    }), 30_000)

  test("goes through the script with each of several clients", () =>
    Effect.gen(function*() {
      const peer = yield* scripted({ script: [expect("hi\n"), reply("hello\n")], connections: 3 })
      const greet = Effect.scoped(Effect.gen(function*() {
        const client = yield* dial(peer)
        yield* client.write("hi\n")
        return yield* client.readLine()
      }))
      assert.deepStrictEqual(yield* Effect.all([greet, greet], { concurrency: 2 }), ["hello", "hello"])
      const waiting = yield* Effect.forkChild(peer.done)
      assert.isUndefined(waiting.pollUnsafe())
      yield* greet
      yield* Fiber.join(waiting)
      // further ones are served as well
      assert.strictEqual(yield* greet, "hello")
    }))

  test("has a script of its own for each connection, and none for further ones", () =>
    Effect.gen(function*() {
      const peer = yield* scripted({ script: [[expect("x"), reset], [expect("x"), reply("second\n")]] })
      const first = yield* dial(peer)
      yield* first.write("x")
      assert.deepInclude(yield* reasonOf(first.read()), { _tag: "Reset" })
      const second = yield* dial(peer)
      yield* second.write("x")
      assert.strictEqual(yield* second.readLine(), "second")
      yield* peer.done
      // whether a connection comes about that is reset at once depends on who is faster
      assert.oneOf(yield* outcome(Effect.flatMap(dial(peer), (client) => client.read())), ["Reset", "Refused"])
    }))

  test("fails with a connection too many", () =>
    Effect.gen(function*() {
      const peer = yield* scripted({ script: [[expect("x")]] })
      yield* dial(peer)
      yield* outcome(dial(peer))
      const error = yield* Effect.flip(peer.done)
      assert.strictEqual(error.message, "connection 2: expected no further connection, but one came")
    }))

  test("says where it stood when its scope closes half-way", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const peer = yield* Scope.provide(scripted({ script: [expect("a"), reply("b"), expect("c")] }), scope)
      const idle = yield* Scope.provide(scripted({ script: [] }), scope)
      const client = yield* dial(peer)
      yield* client.write("a")
      yield* client.readExactly(1)
      const waiting = yield* Effect.forkChild(Effect.flip(peer.done))
      yield* Scope.close(scope, Exit.void)
      const error = yield* Fiber.join(waiting)
      assert.strictEqual(
        error.message,
        "connection 1, step 3: expected the script to be done, but the peer was closed before"
      )
      assert.strictEqual(
        (yield* Effect.flip(idle.done)).message,
        "connection 1: expected a connection, but the peer was closed before"
      )
      assert.oneOf((yield* reasonOf(client.read()))["_tag"], ["EndOfStream", "Reset"])
      assert.deepInclude(yield* reasonOf(Effect.scoped(dial(peer))), { _tag: "Refused" })
    }))
})

describe("TestPeers.scripted", () => {
  it.effect("waits as long as it is told, and says what had come", () =>
    Effect.gen(function*() {
      const peer = yield* scripted({ script: [expect("PING\r\n")], timeout: "5 seconds" })
      const ending = yield* scripted({ script: [expectEnd], timeout: "5 seconds" })
      const client = yield* dial(peer)
      yield* dial(ending)
      yield* client.write("PI")
      while ((yield* client.stats).bytesWritten < 2 || (yield* ending.connections) === 0) yield* Effect.yieldNow
      const waiting = yield* Effect.forkChild(Effect.flip(Effect.andThen(Effect.ignore(ending.done), peer.done)))
      yield* TestClock.adjust("4 seconds")
      assert.isUndefined(waiting.pollUnsafe())
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(
        (yield* Fiber.join(waiting)).message,
        "connection 1, step 1: expected \"PING\\r\\n\", but only \"PI\" came within 5s"
      )
      assert.strictEqual((yield* Effect.flip(ending.done)).detail, "nothing came within 5s")
    }).pipe(Effect.scoped, Effect.provide(TestNetwork.layer())))
})

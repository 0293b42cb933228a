/** TLS on a connection that has carried plaintext before (STARTTLS), and on sockets of every kind. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import { client, server } from "../../../src/internal/tls/handshake.ts"
import { resolve, resolveServer } from "../../../src/internal/tls/options.ts"
import * as TestCertificates from "../../../src/testing/TestCertificates.ts"
import { leavesNothing } from "../../support/leaks.ts"
import { readAll, turns } from "../../support/streams.ts"
import { connectTo, disguised, echoes, listening, nextConnection, socketPair } from "../../support/tls.ts"

const shared = Buffer.alloc(64 * 1024)

/** A socket that reads into one buffer for all and pushes copies; Node calls back on the socket. */
const onread = (): Partial<Net.TcpNetConnectOpts> => ({
  onread: {
    buffer: shared,
    callback(this: Net.Socket | undefined, length: number, bytes: Uint8Array) {
      return this?.push(Buffer.from(bytes.subarray(0, length))) ?? false
    }
  }
})

/** Takes one message by a `data` listener, which is gone afterwards, and pauses. */
const takeOne = (duplex: Duplex) =>
  Effect.callback<string>((resume) => {
    const onData = (bytes: Buffer) => {
      duplex.off("data", onData).pause()
      resume(Effect.succeed(String(bytes)))
    }
    duplex.on("data", onData).resume()
  })

const kinds = {
  "plain sockets": { options: () => ({}), over: (socket: Net.Socket): Duplex => socket },
  "sockets with onread": { options: onread, over: (socket: Net.Socket): Duplex => socket },
  "streams that are no sockets": { options: () => ({}), over: disguised }
}

describe("an upgrade to TLS", () => {
  for (const [kind, { options, over }] of Object.entries(kinds)) {
    /** Both ends of a connection on which a dialogue has taken place. */
    const ends = Effect.fnUntraced(function*(dialogue: boolean) {
      const { certificate: ca, issue } = yield* TestCertificates.authority()
      const { port, server: raw } = yield* listening(Net.createServer({ allowHalfOpen: true }))
      const [theirs, ours] = yield* Effect.all([
        Effect.map(nextConnection(raw), over),
        Effect.map(connectTo(port, options()), over)
      ], { concurrency: "unbounded" })
      if (dialogue) {
        for (const word of ["EHLO", "STARTTLS"]) {
          ours.write(word)
          assert.strictEqual(yield* takeOne(theirs), word)
          theirs.write("OK")
          assert.strictEqual(yield* takeOne(ours), "OK")
        }
      }
      return yield* Effect.all([
        Effect.flatMap(resolve({ ca }), (tls) => client(ours, tls, "db.test")),
        Effect.flatMap(
          Effect.flatMap(issue({ names: ["db.test"] }), resolveServer),
          // the beginning of the handshake has come before anybody waits for it
          (tls) => Effect.delay(server(theirs, tls), dialogue ? "20 millis" : "0 millis")
        )
      ], { concurrency: "unbounded" })
    })

    for (const dialogue of [false, true]) {
      it.live(
        `carries 10 MB each way over ${kind}${dialogue ? " after a dialogue in plaintext" : ""}`,
        () =>
          leavesNothing(Effect.scoped(Effect.gen(function*() {
            const [mine, theirs] = yield* ends(dialogue)
            const sent = Buffer.alloc(10 * 1024 * 1024, "0123456789abcdef-")
            theirs.pipe(theirs)
            const back = readAll(mine)
            mine.end(sent)
            const { bytes, ending } = yield* back
            assert.strictEqual(ending, "end")
            assert.isTrue(bytes.equals(sent))
          }))),
        30_000
      )
    }

    it.live(`takes what came behind the last word for the handshake, over ${kind}`, () =>
      leavesNothing(Effect.scoped(Effect.gen(function*() {
        const { certificate: ca, issue } = yield* TestCertificates.authority()
        const { port, server: raw } = yield* listening(Net.createServer({ allowHalfOpen: true }))
        const [theirs, ours] = yield* Effect.all([
          Effect.map(nextConnection(raw), over),
          Effect.map(connectTo(port, options()), over)
        ], { concurrency: "unbounded" })
        const tls = yield* resolveServer(yield* issue({ names: ["db.test"] }))
        const upgraded = yield* Effect.forkChild(
          Effect.flatMap(resolve({ ca }), (tls) => client(ours, tls, "db.test")),
          { startImmediately: true }
        )
        // the ClientHello is in the stream's buffer, and part of it has been put back there
        const hello = yield* Effect.callback<Buffer>((resume) => {
          theirs.once("readable", () => resume(Effect.succeed(theirs.read())))
        })
        theirs.unshift(hello.subarray(100))
        theirs.unshift(hello.subarray(0, 100))
        const secure = yield* server(theirs, tls)
        secure.pipe(secure)
        yield* echoes(yield* Fiber.join(upgraded))
      }))))
  }

  for (const side of ["client", "server"] as const) {
    it.live(`closes the stream when the ${side} is interrupted in the handshake`, () =>
      leavesNothing(Effect.scoped(Effect.gen(function*() {
        const { issue } = yield* TestCertificates.authority()
        const tls = yield* resolveServer(yield* issue({ names: ["db.test"] }))
        for (const over of [(socket: Net.Socket): Duplex => socket, disguised]) {
          const { ours, theirs } = yield* socketPair
          const duplex = over(ours)
          const shaking = yield* Effect.forkChild(
            Effect.scoped(side === "client" ? client(duplex, tls, "db.test") : server(duplex, tls)),
            { startImmediately: true }
          )
          yield* turns(5)
          const closed = Effect.callback<void>((resume) => {
            theirs.resume().once("close", () => resume(Effect.void)).once("end", () => theirs.end())
          })
          yield* Effect.all([Fiber.interrupt(shaking), closed], { concurrency: "unbounded" })
          assert.isTrue(duplex.destroyed)
        }
      }))))
  }
})

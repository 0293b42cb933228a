import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import * as Net from "node:net"
import { MemoryDuplex } from "../../src/internal/memory/duplex.ts"
import { list, readMessage, sign } from "../../src/internal/ssh/auth/agent.ts"
import { Reader, string, uint32 } from "../../src/internal/ssh/wire.ts"
import * as SshAgent from "../../src/services/SshAgent.ts"
import { leavesNothing } from "../support/leaks.ts"
import { temporaryFolder } from "../support/servers.ts"
import { until } from "../support/ssh.ts"
import { certificateOf } from "../support/sshCertificate.ts"
import { generateKey } from "../support/sshPeer.ts"

const test = (title: string, body: () => Effect.Effect<unknown, unknown, Scope.Scope>) =>
  it.live(title, () => leavesNothing(Effect.scoped(body())))

/** An agent that answers whatever it is asked with these pieces, and then with nothing. */
const scripted = (...pieces: ReadonlyArray<Uint8Array>): SshAgent.SshAgent & { readonly asked: () => Buffer } => {
  let received = Buffer.alloc(0)
  return {
    name: "scripted agent",
    asked: () => received,
    connect: Effect.acquireRelease(
      Effect.sync(() => {
        const [here, there] = MemoryDuplex.pair({ bufferSize: 1024 * 1024, fragment: 1024 * 1024 })
        there.on("data", (chunk: Buffer) => {
          received = Buffer.concat([received, chunk])
        }).on("end", () => there.destroy())
        there.once("data", () => pieces.forEach((piece) => there.write(piece)))
        return here
      }),
      (here) => Effect.sync(() => void here.destroy())
    )
  }
}

const key = Buffer.concat([string("ssh-ed25519"), string(Buffer.alloc(32))])
const algorithm = { request: "ssh-ed25519", signature: "ssh-ed25519" }
const identities = string(
  Buffer.concat([Buffer.of(12), uint32(2), string(key), string("first\n"), string("odd"), string("")])
)

const message = <A, E extends { readonly message: string }>(effect: Effect.Effect<A, E, Scope.Scope>) =>
  Effect.map(Effect.flip(Effect.scoped(effect)), ({ message }) => message)

describe("SshAgent", () => {
  test("lists what an agent holds, however the bytes come", () =>
    Effect.gen(function*() {
      const expected = [{ bytes: key, comment: "first " }, { bytes: Buffer.from("odd"), comment: "" }]
      const whole = scripted(identities)
      assert.deepStrictEqual(yield* list(whole), expected)
      assert.deepStrictEqual(whole.asked(), Buffer.of(0, 0, 0, 1, 11))
      assert.deepStrictEqual(yield* list(scripted(...[...identities].map((byte) => Buffer.of(byte)))), expected)
      assert.deepStrictEqual(yield* list(scripted(Buffer.concat([identities, identities]))), expected)
    }))

  test("says what is wrong with an agent that does not speak as one", () =>
    Effect.gen(function*() {
      assert.match(yield* message(list(scripted(string(Buffer.of(5))))), /it lists no keys \(5\)$/)
      assert.match(yield* message(list(scripted(string(Buffer.of(12, 0, 0, 0, 1))))), /its list of keys is cut off$/)
      assert.match(yield* message(list(scripted(string(Buffer.of(12, 255, 255, 255, 255))))), /is cut off$/)
      assert.match(yield* message(list(scripted(Buffer.from("HTTP/1.1 400 Bad Request")))), /a message is too long$/)
      const hangsUp: SshAgent.SshAgent = {
        name: "agent",
        connect: Effect.sync(() => {
          const [here, there] = MemoryDuplex.pair({ bufferSize: 1024, fragment: 1024 })
          there.resume().end()
          return here
        })
      }
      assert.match(yield* message(list(hangsUp)), /the connection ended before the answer was complete$/)
    }))

  it.effect("waits for an agent, but not for ever", () =>
    Effect.gen(function*() {
      const silent = scripted()
      const listing = yield* Effect.forkChild(message(list(silent)))
      yield* until(() => silent.asked().length > 0)
      yield* TestClock.adjust("10 seconds")
      assert.match(yield* Fiber.join(listing), /it is silent for 10s$/)
      const slow = scripted()
      const signing = yield* Effect.forkChild(Effect.flip(sign(slow, key, Buffer.from("data"), algorithm)))
      yield* until(() => slow.asked().length > 0)
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual((yield* Fiber.join(signing)).why, "the agent has not signed within 2m")
    }))

  test("passes a signature on as it is, and takes anything else for a refusal", () =>
    Effect.gen(function*() {
      const signed = scripted(string(Buffer.concat([Buffer.of(14), string("a signature of any kind")])))
      const data = Buffer.from("data")
      const given = yield* sign(signed, key, data, { request: "rsa-sha2-512", signature: "rsa-sha2-512" })
      assert.strictEqual(Buffer.from(given).toString(), "a signature of any kind")
      const reader = new Reader(signed.asked().subarray(4))
      assert.deepStrictEqual([reader.byte(), reader.string(), reader.string(), reader.uint32()], [13, key, data, 4])
      for (const answer of [Buffer.of(5), Buffer.of(14, 0, 0, 0, 9), Buffer.of()]) {
        const { why } = yield* Effect.flip(sign(scripted(string(answer)), key, data, algorithm))
        assert.strictEqual(why, "the agent refused to sign")
      }
      const { why } = yield* Effect.flip(sign(SshAgent.socket("/nonexistent"), key, data, algorithm))
      assert.match(why, /^the SSH agent cannot be asked: .*nonexistent/)
    }))

  test("can be interrupted while the agent thinks, and hangs up then", () =>
    Effect.gen(function*() {
      const file = `${yield* temporaryFolder}/agent`
      const connected = yield* Deferred.make<Net.Socket>()
      const server = Net.createServer((socket) => Deferred.doneUnsafe(connected, Effect.succeed(socket.resume())))
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) => void server.listen(file, () => resume(Effect.void))),
        () => Effect.sync(() => void server.close())
      )
      const listing = yield* Effect.forkChild(list(SshAgent.socket(file)))
      const socket = yield* Deferred.await(connected)
      yield* Fiber.interrupt(listing)
      yield* until(() => socket.destroyed)
    }))
})

describe("SshAgent.fromEnv", () => {
  const connectWith = (variables: Record<string, string>) =>
    message(Effect.provideService(
      SshAgent.fromEnv.connect,
      ConfigProvider.ConfigProvider,
      ConfigProvider.fromUnknown(variables)
    ))

  test("connects to where SSH_AUTH_SOCK says", () =>
    Effect.gen(function*() {
      assert.match(yield* connectWith({}), /SSH_AUTH_SOCK does not say where it listens$/)
      assert.match(yield* connectWith({ SSH_AUTH_SOCK: "/nonexistent/sock" }), /\/nonexistent\/sock/)
    }))
})

describe("SshAgent.inMemory", () => {
  test("lists its keys, a certificate before its key", () =>
    Effect.gen(function*() {
      const file = `${yield* temporaryFolder}/id`
      const { private: privateKey, public: line } = generateKey()
      Fs.writeFileSync(file, privateKey)
      Fs.writeFileSync(`${file}-cert.pub`, certificateOf(Buffer.from(line.split(" ")[1] ?? "", "base64")))
      const held = yield* SshAgent.keys(SshAgent.inMemory({ key: file }, { key: generateKey().private }))
      assert.deepStrictEqual(held.map(({ comment, type }) => [type, comment]), [
        ["ssh-ed25519-cert-v01@openssh.com", `${file}, certificate "an id"`],
        ["ssh-ed25519", file],
        ["ssh-ed25519", "the given text"]
      ])
      assert.strictEqual(held[1]?.publicKey, `${line.split(" ", 2).join(" ")} ${file}`)
      assert.match(held[1]?.fingerprint ?? "", /^SHA256:\S{43}$/)
      assert.strictEqual(held[0]?.fingerprint, held[1]?.fingerprint)
    }))

  test("refuses everything but to list and to sign with SHA-2", () =>
    Effect.gen(function*() {
      const privateKey = Crypto.generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey
        .export({ format: "pem", type: "pkcs8" }).toString()
      const duplex = yield* SshAgent.inMemory({ key: privateKey }).connect
      const ask = (...parts: ReadonlyArray<Uint8Array>) => {
        duplex.write(string(Buffer.concat(parts)))
        return readMessage(duplex)
      }
      const answer = new Reader(yield* ask(Buffer.of(11)))
      assert.deepStrictEqual([answer.byte(), answer.uint32()], [12, 1])
      const bytes = answer.string()
      const signRequest = (flags: number, key = bytes) => ask(Buffer.of(13), string(key), string("data"), uint32(flags))
      assert.strictEqual((yield* signRequest(2))[0], 14)
      assert.strictEqual((yield* signRequest(4))[0], 14)
      for (const refused of [signRequest(0), signRequest(2, key), ask(Buffer.of(13)), ask(Buffer.of(19)), ask()]) {
        assert.deepStrictEqual(yield* refused, Buffer.of(5))
      }
    }))

  test("cannot be connected to with a key that cannot be read", () =>
    Effect.gen(function*() {
      const locked = generateKey(Redacted.make("open sesame")).private
      const agent = SshAgent.inMemory({ key: locked })
      assert.match(yield* message(SshAgent.keys(agent)), /the given text is encrypted: give its passphrase/)
    }))
})

import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { PassThrough } from "node:stream"
import Ssh2, { type Client, type ClientChannel } from "ssh2"
import * as Protocol from "../../../src/internal/ssh/protocol.ts"
import * as SshPeer from "../../support/sshPeer.ts"

/** ssh2 alone, to look at its private parts. */
const connected = Effect.gen(function*() {
  const server = yield* SshPeer.make({ username: "demo", password: "p" })
  const client = yield* Effect.acquireRelease(
    Effect.callback<Client, Error>((resume) => {
      const client = new Ssh2.Client()
      client
        .on("error", (error) => resume(Effect.fail(error)))
        .on("ready", () => resume(Effect.succeed(client)))
        .connect({ host: "127.0.0.1", port: server.port, username: "demo", password: "p" })
    }),
    (client) => Effect.sync(() => client.end())
  )
  return { client, server }
})

const exec = <A>(client: Client, command: string, use: (channel: ClientChannel) => A) =>
  Effect.callback<A, Error>((resume) =>
    void client.exec(
      command,
      (error, channel) => resume(error === undefined ? Effect.succeed(use(channel)) : Effect.fail(error))
    )
  )

const closed = (channel: ClientChannel) =>
  Effect.callback<void>((resume) => void channel.once("close", () => resume(Effect.void)))

/** Takes what a channel brings. */
const received = (channel: ClientChannel) => {
  const seen = { out: "", err: "", size: 0, ends: 0 }
  const incoming = Protocol.receive(channel, {
    onData: (bytes, isError) => {
      seen.size += bytes.length
      const text = bytes.length > 100 ? "" : Buffer.from(bytes).toString()
      if (isError) seen.err += text
      else seen.out += text
    },
    onEnd: () => seen.ends++
  })
  return { channel, incoming, seen }
}

describe("protocol", () => {
  it.live("finds the states that ssh2 keeps, from open to closed", () =>
    Effect.gen(function*() {
      const { client } = yield* connected
      const session = yield* exec(client, "cat", (channel) => channel)
      for (const direction of ["incoming", "outgoing"] as const) {
        assert.strictEqual(Reflect.get(Object(session[direction]), "state"), "open")
        assert.isTrue(Protocol.isOpen(session, direction))
      }
      session.resume().end()
      assert.isFalse(Protocol.isOpen(session, "outgoing"))
      yield* closed(session)
      assert.isFalse(Protocol.isOpen(session, "incoming"))
    }))

  it("asks the stream where the states are gone", () => {
    const stateless = Object.assign(new PassThrough(), { incoming: {}, outgoing: undefined })
    assert.isTrue(Protocol.isOpen(stateless, "incoming"))
    assert.isTrue(Protocol.isOpen(stateless, "outgoing"))
    stateless.end()
    assert.isFalse(Protocol.isOpen(stateless, "outgoing"))
  })

  it.live("sends signals and sizes, also after the end of the input, where ssh2 sends nothing", () =>
    Effect.gen(function*() {
      const { client } = yield* connected
      const first = yield* exec(client, "wait", received)
      Protocol.signal(first.channel, "KILL")
      const exit = yield* Effect.callback<ReadonlyArray<unknown>>((resume) =>
        void first.channel.once("exit", (...args: ReadonlyArray<unknown>) => resume(Effect.succeed(args)))
      )
      assert.deepStrictEqual(exit, [null, "SIGKILL", true, "dumped"])
      yield* closed(first.channel)
      const sent: Array<ReadonlyArray<unknown>> = []
      const protocol = Object(Reflect.get(client, "_protocol"))
      for (const name of ["signal", "windowChange"]) {
        const before = Reflect.get(protocol, name)
        Reflect.set(protocol, name, (id: number, ...args: ReadonlyArray<unknown>) => {
          sent.push(args)
          before.call(protocol, id, ...args)
        })
      }
      // to a channel that the server has forgotten they would end the connection
      Protocol.signal(first.channel, "KILL")
      Protocol.resize(first.channel, 1, 1)
      const { channel } = yield* exec(client, "wait", received)
      channel.end()
      channel.signal("TERM")
      channel.setWindow(1, 1, 1, 1)
      assert.deepStrictEqual(sent, [])
      Protocol.signal(channel, "KILL")
      Protocol.resize(channel, 100, 50)
      assert.deepStrictEqual(sent, [["KILL"], [50, 100, 0, 0]])
    }))

  it("does what ssh2 documents where it does not know the rest", () => {
    const calls: Array<ReadonlyArray<unknown>> = []
    const channel: any = {
      incoming: {},
      outgoing: {},
      signal: (...args: ReadonlyArray<unknown>) => void calls.push(args),
      setWindow: (...args: ReadonlyArray<unknown>) => void calls.push(args)
    }
    Protocol.signal(channel, "TERM")
    Protocol.resize(channel, 100, 50)
    assert.deepStrictEqual(calls, [["TERM"], [50, 100, 0, 0]])
    const client: any = { unforwardIn: (...args: ReadonlyArray<unknown>) => void calls.push(args) }
    assert.isFalse(Protocol.rekey(client))
    assert.isUndefined(Protocol.requested(client)())
    const answered = () => {}
    Protocol.ping(client, answered)
    assert.deepStrictEqual(calls.at(-1), ["", 0, answered])
    Protocol.onDisconnect(client, () => assert.fail("nobody said anything"))
  })

  it.live("agrees on new keys", () =>
    Effect.gen(function*() {
      const { client } = yield* connected
      yield* Effect.callback<void>((resume) => {
        client.once("handshake", () => resume(Effect.void))
        assert.isTrue(Protocol.rekey(client))
      })
    }))

  it.live("asks a server whether it is there, which answers however little it knows of the question", () =>
    Effect.gen(function*() {
      const { client } = yield* connected
      yield* Effect.callback<void>((resume) => Protocol.ping(client, () => resume(Effect.void)))
      Reflect.set(client, "_protocol", Object.create(Reflect.get(client, "_protocol"), { ping: { value: undefined } }))
      yield* Effect.callback<void>((resume) => Protocol.ping(client, () => resume(Effect.void)))
    }))

  it.live("hears the words of a server that takes its leave", () =>
    Effect.gen(function*() {
      const { client } = yield* connected
      const heard: Array<string> = []
      Protocol.onDisconnect(client, (words) => heard.push(words))
      const protocol: unknown = Reflect.get(client, "_protocol")
      Reflect.get(Object(Reflect.get(Object(protocol), "_handlers")), "DISCONNECT")(protocol, 11, "good night")
      assert.deepStrictEqual(heard, ["good night"])
    }))

  it.live("finds the channel whose command was refused, which ssh2 leaves open", () =>
    Effect.gen(function*() {
      const { client } = yield* connected
      const channel = yield* Effect.callback<ClientChannel | undefined>((resume) => {
        client.exec("reboot", () => resume(Effect.sync(requested)))
        const requested = Protocol.requested(client)
      })
      const found = channel ?? assert.fail("there is none")
      assert.isTrue(Protocol.isOpen(found, "outgoing"))
      found.close()
      assert.isFalse(Protocol.isOpen(found, "outgoing"))
    }))
})

describe("what a channel brings", () => {
  it.live("comes from ssh2 itself, with both outputs and their ends", () =>
    Effect.gen(function*() {
      const { client } = yield* connected
      const { channel, incoming, seen } = yield* exec(client, "stderr oh no", received)
      yield* closed(channel)
      assert.isTrue(incoming.direct)
      assert.deepStrictEqual(seen, { out: "", err: "oh no\n", size: 6, ends: 2 })
    }))

  it.live("is no more than the window, and as much more as was granted or taken", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected
      const mebibyte = 1024 * 1024
      const { channel, incoming, seen } = yield* exec(client, `bytes ${8 * mebibyte}`, received)
      const arrived = (size: number) =>
        Effect.callback<void>((resume) => {
          const check = () => seen.size === size ? resume(Effect.void) : void setImmediate(check)
          check()
        })
      yield* arrived(Protocol.initialWindow)
      yield* Effect.sleep("20 millis")
      assert.strictEqual(seen.size, Protocol.initialWindow)
      assert.isTrue(incoming.grant(mebibyte))
      yield* arrived(3 * mebibyte)
      // little is not worth a packet; the first time that it is, the window becomes larger for good
      incoming.taken(1000)
      yield* Effect.sleep("20 millis")
      assert.strictEqual(seen.size, 3 * mebibyte)
      incoming.taken(mebibyte)
      yield* arrived(5 * mebibyte + 1000)
      incoming.taken(8 * mebibyte)
      yield* closed(channel)
      assert.strictEqual(seen.size, 8 * mebibyte)
      assert.strictEqual(server.produced(), 8 * mebibyte)
    }))

  it.live("comes from ssh2's streams where something is already in them, and is held back all the same", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected
      const size = 12 * 1024 * 1024
      const channel = yield* exec(client, `bytes ${size}`, (channel) => channel)
      yield* Effect.callback<void>((resume) => void channel.once("readable", () => resume(Effect.void)))
      const { incoming, seen } = received(channel)
      assert.isFalse(incoming.direct)
      assert.isFalse(incoming.grant(1000))
      yield* Effect.sleep("50 millis")
      assert.isBelow(server.produced(), size)
      const take = () => {
        incoming.taken(seen.size - taken)
        taken = seen.size
        if (seen.ends < 2) setImmediate(take)
      }
      let taken = 0
      take()
      yield* closed(channel)
      yield* Effect.callback<void>((resume) => void channel.stderr.once("close", () => resume(Effect.void)))
      assert.deepStrictEqual([seen.size, seen.ends], [size, 2])
    }))

  it.live("is dropped when nobody wants it, and the channel closes", () =>
    Effect.gen(function*() {
      const { client } = yield* connected
      const { channel, incoming, seen } = yield* exec(client, "bytes 100000", received)
      incoming.stop()
      yield* closed(channel)
      assert.strictEqual(seen.ends, 0)
      const late = yield* exec(client, "bytes 100000", (channel) => channel)
      yield* Effect.callback<void>((resume) => void late.once("readable", () => resume(Effect.void)))
      received(late).incoming.stop()
      yield* closed(late)
    }))

  it.live("ends the connection to a server that sends more than it may", () =>
    Effect.gen(function*() {
      const { client } = yield* connected
      const error = Effect.callback<Error>((resume) =>
        void client.once("error", (error) => resume(Effect.succeed(error)))
      )
      const { channel } = yield* exec(client, "wait", received)
      const flood = Buffer.alloc(Protocol.initialWindow)
      setImmediate(() => {
        for (let i = 0; i < 3; i++) channel.push(flood)
      })
      assert.include((yield* error).message, "more than it was allowed to")
    }))
})

import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { PassThrough } from "node:stream"
import type { ClientChannel } from "ssh2"
import Ssh2 from "ssh2"
import * as SshPeer from "../../../examples/peers/sshServer.ts"
import { isOpen } from "../../../src/internal/ssh/protocol.ts"

/** A channel of ssh2 alone, to look at its private parts. */
const channel = Effect.gen(function*() {
  const server = yield* SshPeer.make({ username: "demo", password: "p" })
  return yield* Effect.callback<ClientChannel, Error>((resume) => {
    const client = new Ssh2.Client()
    client
      .on("error", (error) => resume(Effect.fail(error)))
      .on("ready", () =>
        client.exec("cat", (error, channel) => {
          channel.once("close", () => client.end())
          resume(error === undefined ? Effect.succeed(channel) : Effect.fail(error))
        }))
      .connect({ host: "127.0.0.1", port: server.port, username: "demo", password: "p" })
  })
})

const closed = (channel: ClientChannel) =>
  Effect.callback<void>((resume) => void channel.resume().once("close", () => resume(Effect.void)))

describe("protocol", () => {
  it.live("finds the states that ssh2 keeps, from open to closed", () =>
    Effect.gen(function*() {
      const session = yield* channel
      for (const direction of ["incoming", "outgoing"] as const) {
        assert.strictEqual(Reflect.get(Object(session[direction]), "state"), "open")
        assert.isTrue(isOpen(session, direction))
      }
      session.end()
      assert.isFalse(isOpen(session, "outgoing"))
      yield* closed(session)
      assert.isFalse(isOpen(session, "incoming"))
    }))

  it("asks the stream where the states are gone", () => {
    const stateless = Object.assign(new PassThrough(), { incoming: {}, outgoing: undefined })
    assert.isTrue(isOpen(stateless, "incoming"))
    assert.isTrue(isOpen(stateless, "outgoing"))
    stateless.end()
    assert.isFalse(isOpen(stateless, "outgoing"))
  })
})

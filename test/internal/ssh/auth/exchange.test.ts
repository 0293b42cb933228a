import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Duplex } from "node:stream"
import { takeOver } from "../../../../src/internal/ssh/auth/exchange.ts"
import Ssh2 from "../../../../src/internal/ssh/ssh2.ts"

/** What ssh2 has inside once it was told to connect. */
const insides = Effect.acquireRelease(
  Effect.sync(() => {
    const silent = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() })
    const client = new Ssh2.Client().on("error", () => {})
    client.connect({ sock: silent, username: "demo", readyTimeout: 0 })
    return { client, silent }
  }),
  ({ silent }) => Effect.sync(() => silent.destroy())
)

const copy = (of: unknown): Record<string, unknown> => Object.fromEntries(Object.entries(of ?? {}))

describe("takeOver", () => {
  it.effect("knows the insides of the ssh2 that is installed", () =>
    Effect.gen(function*() {
      const { client } = yield* insides
      assert.isFalse((yield* takeOver(client)).hasAsked())
    }))

  it.effect("says so where they are not as expected", () =>
    Effect.gen(function*() {
      const { client } = yield* insides
      const protocol = copy(copy(client)["_protocol"])
      for (const part of ["_handlers", "_authsQueue", "_kex", "_packetRW"]) {
        const { [part]: _, ...others } = protocol
        const error = yield* Effect.flip(takeOver({ _protocol: others }))
        assert.deepInclude(error, { _tag: "Unsupported", feature: "other" })
      }
      for (
        const name of Object.keys(copy(protocol["_handlers"])).filter((name) => /^(USERAUTH_[^B]|SERVICE)/.test(name))
      ) {
        const handlers = { ...copy(protocol["_handlers"]), [name]: undefined }
        yield* Effect.flip(takeOver({ _protocol: { ...protocol, _handlers: handlers } }))
      }
      yield* Effect.flip(takeOver({}))
    }))
})

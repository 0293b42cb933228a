import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Dns from "effect/net/Dns"
import * as Stream from "effect/Stream"
import * as Grpc from "../../src/services/Grpc.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { grpcPeer, talkSchema } from "../support/grpcPeer.ts"
import { reasonOf } from "../support/reason.ts"
import { turn } from "../support/scripted.ts"

const zone = Dns.layerStatic({ hosts: { "talk.internal": ["10.0.0.1", "10.0.0.2"] } })

describe("Grpc.dns", () => {
  it.effect("spreads calls over all addresses of a name, with the name as authority", () =>
    Effect.gen(function*() {
      const peers = yield* Effect.forEach(["10.0.0.1", "10.0.0.2"], (host) => grpcPeer({ host, port: 50051 }))
      const grpc = yield* Grpc.Grpc
      const channel = yield* grpc.connect({
        url: "http://talk.internal:50051",
        endpoints: Stream.provideService(Grpc.dns("talk.internal:50051"), Dns.Dns, yield* Dns.Dns),
        balancing: "roundRobin",
        schema: talkSchema,
        keepAlive: false
      })
      while (peers.some(({ sessions }) => sessions.size === 0)) yield* turn
      const served = new Set<number>()
      for (let call = 0; call < 20 && served.size < 2; call++) {
        const reply = yield* Effect.forkChild(channel.unary("test.Talk/Ask", {}))
        while (peers.every(({ asked }) => asked.messages.length === 0)) yield* turn
        for (const [index, peer] of peers.entries()) {
          if (peer.asked.messages.length === 0) continue
          served.add(index)
          const asked = yield* peer.nextCall
          assert.strictEqual(asked.headers[":authority"], "talk.internal:50051")
          asked.answer("yes")
        }
        yield* Fiber.join(reply)
      }
      assert.strictEqual(served.size, 2)
    }).pipe(Effect.provide(Grpc.layer), Effect.provide([TestNetwork.layer(), zone])))

  it.effect("fails with the DialError of a name that has no address, or is none", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* reasonOf(Stream.runDrain(Grpc.dns("other.internal"))))["_tag"], "NameNotFound")
      assert.strictEqual((yield* reasonOf(Stream.runDrain(Grpc.dns("a b:1"))))["_tag"], "InvalidTarget")
    }).pipe(Effect.provide(zone)))
})

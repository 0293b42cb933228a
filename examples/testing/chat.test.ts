import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { Connection, Framing, TcpServer } from "hawser"
import { NetworkRule, TestNetwork } from "hawser/testing"
import { chat } from "./chat.ts"

const members = ["ann", "bob", "cem"]
const messages = 5

const upTo = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

/** Whose connection breaks, in which direction, and after how many bytes. */
const Break = Schema.Struct({ member: Schema.Literals(members), toServer: Schema.Boolean, at: upTo(80) })

/** Who cannot be reached for a while. */
const Outage = Schema.Struct({ member: Schema.Literals(members), from: upTo(10), seconds: upTo(5) })

/** A member comes, says something every two seconds, and listens until its connection ends or nobody says any more. */
const member = Effect.fnUntraced(function*(name: string) {
  const network = yield* TestNetwork.TestNetwork
  const { dialer } = yield* network.host(name)
  const heard: Array<string> = []
  yield* Effect.gen(function*() {
    const connection = yield* Connection.fromDuplex(yield* dialer.dial("chat:6667"))
    const listening = connection.frames(Framing.lines()).pipe(
      Stream.runForEach((line) => Effect.sync(() => heard.push(line)))
    )
    const speaking = Effect.forEach(
      Array.from({ length: messages }),
      (_, i) => Effect.delay(connection.write(`${name} ${i}\n`), "2 seconds"),
      { discard: true }
    )
    yield* Effect.all([listening, speaking], { concurrency: "unbounded" })
  }).pipe(Effect.timeout("10 minutes"), Effect.scoped, Effect.ignore)
  return { name, heard }
})

describe("a chat", () => {
  it.effect.prop(
    "tells everybody what the others say, in order and once, whatever happens on the way",
    {
      seed: Schema.Int,
      latency: upTo(500),
      fragment: upTo(9),
      breaks: Schema.Array(Break),
      outages: Schema.Array(Outage)
    },
    ({ breaks, fragment, latency, outages, seed }) =>
      Effect.gen(function*() {
        const network = yield* TestNetwork.TestNetwork
        yield* Effect.forkScoped(chat)
        for (const { at, member, toServer } of breaks) {
          const [from, to] = toServer ? [member, "chat"] : ["chat", member]
          yield* network.rule(NetworkRule.when({ from, to }, NetworkRule.resetAt(at)))
        }
        for (const { from, member, seconds } of outages) {
          const outage = Effect.scoped(Effect.andThen(network.partition(member), Effect.sleep(seconds * 1000)))
          yield* Effect.forkScoped(Effect.delay(outage, (2 + from) * 1000))
        }
        const told = yield* Effect.forEach(members, member, { concurrency: "unbounded" })
        const broken = new Set(breaks.map(({ member }) => member))
        for (const { heard, name } of told) {
          assert.deepStrictEqual(heard.filter((line) => line.startsWith(name)), [])
          for (const other of members.filter((other) => other !== name)) {
            const lines = heard.filter((line) => line.startsWith(other))
            // no gaps, nothing twice, nothing in pieces
            assert.deepStrictEqual(lines, lines.map((_, i) => `${other} ${i}`))
            // nothing is lost to an outage, nor to what becomes of others
            if (!broken.has(name) && !broken.has(other)) assert.strictEqual(lines.length, messages)
          }
        }
      }).pipe(
        Effect.provide(TcpServer.layer({ host: "chat", port: 6667 })),
        TestNetwork.simulated({
          seed,
          defaults: { latency: { min: 0, max: latency }, fragment: { min: 1, max: 1 + fragment } }
        })
      ),
    { arbitrary: { runs: 100 }, timeout: 60_000 }
  )
})

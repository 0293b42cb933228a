import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { addresses, call, openChannel, over, recordStates } from "../../../support/channels.ts"
import { http2Peer } from "../../../support/http2.ts"
import { describeOnNetworks } from "../../../support/network.ts"

describeOnNetworks("a gRPC channel", (test) => {
  test("connects for the first call and uses the connection for all of them", () =>
    Effect.gen(function*() {
      const peer = yield* http2Peer()
      const channel = yield* openChannel(addresses(peer))
      const states = yield* recordStates(channel)
      assert.isUndefined(channel.pick())
      const connection = yield* channel.connection(false)
      assert.strictEqual(channel.pick(), connection)
      assert.strictEqual(yield* channel.connection(false), connection)
      const first = call(connection)
      const stream = yield* peer.nextStream
      stream.respond({ ":status": 200 }, { endStream: true })
      stream.resume()
      first.stream.end()
      yield* over(first)
      assert.strictEqual(first.stream.rstCode, 0)
      assert.isUndefined(first.endedBy())
      assert.strictEqual(peer.duplexes.length, 1)
      assert.deepStrictEqual(states, ["idle", "connecting", "ready"])
    }))
})

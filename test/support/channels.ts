/** What the tests of gRPC's connections and channels have in common. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Backoff from "../../src/internal/grpc/client/backoff.ts"
import * as Channel from "../../src/internal/grpc/client/channel.ts"
import type { Call, Connection } from "../../src/internal/grpc/client/connection.ts"
import type { ClientStream } from "../../src/internal/grpc/wire/streams.ts"
import type { Target } from "../../src/internal/net/target.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import type { Http2Peer } from "./http2.ts"
import { turn } from "./scripted.ts"

/** Opens a channel over the network of the test. */
export const openChannel = (
  endpoints: Channel.Settings["endpoints"],
  settings: Partial<Channel.Settings> = {}
) =>
  Dialer.Dialer.use((path) =>
    Channel.open({
      path,
      endpoints,
      authority: "greeter.test",
      connectTimeout: Duration.seconds(10),
      flowControlWindow: 1024 * 1024,
      keepAlive: undefined,
      idleTimeout: Duration.infinity,
      backoff: Backoff.defaults,
      balancing: "pickFirst",
      drainTimeout: Duration.zero,
      onConnected: undefined,
      ...settings
    })
  )

/** A call under way: what `attempt.ts` does of it with its connection. */
export interface TestCall extends Call {
  readonly stream: ClientStream
  readonly connection: Connection
  /** What it was cancelled with. */
  readonly cancelled: () => string | undefined
  /** Why its connection had ended by the time that the stream was closed; null while it is not closed. */
  readonly endedBy: () => string | undefined | null
}

/** Begins a call. */
export const call = (connection: Connection): TestCall => {
  const stream = connection.session.request({ ":method": "POST", ":path": "/test", ":authority": "greeter.test" })
  let cancelled: string | undefined
  let endedBy: string | undefined | null = null
  const call: TestCall = {
    stream,
    connection,
    cancel: (message) => {
      cancelled = message
      stream.close(8)
    },
    cancelled: () => cancelled,
    endedBy: () => endedBy
  }
  stream.on("error", () => {}).once("close", () => {
    endedBy = connection.endedBy()
    connection.ended(call)
  }).resume()
  connection.opened(call)
  return call
}

/** Waits until a call is over. */
export const over = ({ stream }: TestCall) =>
  Effect.callback<void>((resume) => {
    if (stream.closed) resume(Effect.void)
    else stream.once("close", () => resume(Effect.void))
  })

/** The states of a channel from now on, as they come. */
export const recordStates = Effect.fnUntraced(function*(channel: Channel.Channel) {
  const states: Array<Channel.ConnectivityState> = []
  yield* Effect.forkScoped(
    Stream.runForEach(channel.changes, (state) => Effect.sync(() => states.push(state))),
    { startImmediately: true }
  )
  return states
})

/** Waits for something that takes turns of the event loop only. */
export const until = (condition: () => boolean) =>
  Effect.gen(function*() {
    while (!condition()) yield* turn
  })

/** Ends a call as a server does that has read all of it, and waits until the client knows. */
export const answered = Effect.fnUntraced(function*(running: TestCall, peer: Http2Peer) {
  running.stream.end()
  const stream = yield* peer.nextStream
  stream.resume()
  yield* until(() => stream.endAfterHeaders || stream.readableEnded)
  stream.respond({ ":status": 200 }, { endStream: true })
  yield* over(running)
})

export const addresses = (...peers: ReadonlyArray<{ readonly target: Target }>) => peers.map(({ target }) => target)

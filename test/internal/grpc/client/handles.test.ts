import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Http2 from "node:http2"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { handleOf, keepFor } from "../../../../src/internal/grpc/client/handles.ts"
import { MemoryDuplex } from "../../../../src/internal/memory/duplex.ts"
import { turns } from "../../../support/streams.ts"

setFlagsFromString("--expose-gc")
const collect: () => void = runInNewContext("gc")

/** A session with a call under way; what is native of both once all else is gone. */
const abandoned = (keep: boolean) =>
  Effect.gen(function*() {
    const [near, far] = MemoryDuplex.pair()
    Http2.performServerHandshake(far).on("error", () => {})
    let session: Http2.ClientHttp2Session | undefined = Http2.connect("http://peer", { createConnection: () => near })
    session.on("error", () => {})
    yield* turns(10)
    const stream = session.request({ ":path": "/" }).on("error", () => {})
    if (keep) keepFor(stream, session)
    const ofStream = handleOf(stream)
    const ofSession = new WeakRef(handleOf(session) ?? assert.fail("a session has no native half"))
    session.destroy()
    session = undefined
    yield* turns(10)
    return { ofStream: [ofStream], ofSession }
  })

const isCollected = (reference: WeakRef<object>) =>
  Effect.gen(function*() {
    for (let i = 0; i < 5 && reference.deref() !== undefined; i++) {
      yield* turns(2)
      collect()
    }
    return reference.deref() === undefined
  })

// found by the property of gRPC's streams, seeds "grpcStreams-7" and "grpcStreams-16" with 5,000 cases: Node aborted
describe("what is native of a session", () => {
  it.live("lives as long as that of its streams", () =>
    Effect.gen(function*() {
      const { ofSession, ofStream } = yield* abandoned(true)
      assert.isDefined(ofStream[0], "a stream has no native half")
      assert.isFalse(yield* isCollected(ofSession))
      ofStream.length = 0
      assert.isTrue(yield* isCollected(ofSession))
    }))

  it.live("does not by itself: it is time to give this up when it does", () =>
    Effect.gen(function*() {
      const { ofSession, ofStream } = yield* abandoned(false)
      assert.isTrue(yield* isCollected(ofSession))
      assert.isDefined(ofStream[0])
    }))

  it.live("is nothing for what is no session", () =>
    Effect.sync(() => {
      assert.isUndefined(handleOf({}))
      keepFor({}, {})
    }))
})

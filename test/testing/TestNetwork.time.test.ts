/** What waits for a peer that says nothing any more waits in simulated time, in every protocol. */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Grpc from "../../src/services/Grpc.ts"
import * as GrpcServer from "../../src/services/GrpcServer.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import * as TestPeers from "../../src/testing/TestPeers.ts"
import { schema, serving } from "../support/grpcServer.ts"
import { leavesNothing } from "../support/leaks.ts"
import { reasonOf } from "../support/reason.ts"
import { until } from "../support/ssh.ts"

/** In simulated time: the latency is there so that a partition finds something under way. */
const simulated = <A, E, R>(program: Effect.Effect<A, E, R>) =>
  TestNetwork.TestNetwork.use((network) => network.run(Effect.scoped(program))).pipe(
    Effect.provide(
      Layer.mergeAll(TcpClient.layer, Ssh.layer, Grpc.layer).pipe(
        Layer.provideMerge(TestNetwork.layer({ defaults: { latency: "1 millis", bufferSize: 1000 } }))
      )
    ),
    leavesNothing
  )

const cutOff = (host: string) => TestNetwork.TestNetwork.use((network) => network.partition("client", host))

/** How many seconds an effect takes. */
const seconds = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const before = yield* Clock.currentTimeMillis
    yield* effect
    return ((yield* Clock.currentTimeMillis) - before) / 1000
  })

describe("On the test network", () => {
  it.effect("a session of SSH is lost a minute after its server was heard of for the last time", () =>
    simulated(Effect.gen(function*() {
      const server = yield* TestPeers.sshServer({ address: "ssh.test:22", exec: () => Effect.never })
      const session = yield* Ssh.Ssh.use((ssh) => ssh.connect({ ...server.settings, host: "ssh.test" }))
      const waiting = yield* Effect.forkChild(reasonOf(session.execute("wait")), { startImmediately: true })
      yield* Effect.sleep("10 minutes")
      assert.isUndefined(waiting.pollUnsafe())
      yield* cutOff("ssh.test")
      const took = yield* seconds(
        Effect.map(Fiber.join(waiting), ({ _tag }) => assert.strictEqual(_tag, "ConnectionLost"))
      )
      assert.isAtMost(took, 60)
      assert.isAtLeast(took, 45)
    })))

  it.effect("a call of gRPC is given up when its server does not answer keep-alive's ping", () =>
    simulated(Effect.gen(function*() {
      let calls = 0
      yield* serving({
        One: GrpcServer.unary(() => {
          calls++
          return Effect.never
        })
      }, { host: "grpc.test", port: 50051 })
      const channel = yield* Grpc.Grpc.use((grpc) =>
        grpc.connect({
          url: "http://grpc.test:50051",
          schema,
          keepAlive: { interval: "30 seconds", timeout: "5 seconds", withoutCalls: false }
        })
      )
      const waiting = yield* Effect.forkChild(reasonOf(channel.unary("test.Notes/One", {})), { startImmediately: true })
      yield* until(() => calls === 1)
      yield* cutOff("grpc.test")
      const took = yield* seconds(
        Effect.map(Fiber.join(waiting), ({ _tag }) => assert.strictEqual(_tag, "Unavailable"))
      )
      assert.isAtMost(took, 35)
      assert.isAtLeast(took, 34)
    })))

  it.effect("a connection whose bytes nobody takes is closed in two seconds", () =>
    simulated(Effect.gen(function*() {
      yield* TestPeers.scripted({ address: "deaf.test:7", script: [] })
      const scope = yield* Scope.make()
      const connection = yield* Scope.provide(
        TcpClient.TcpClient.use((tcp) => tcp.connect("deaf.test:7")),
        scope
      )
      yield* cutOff("deaf.test")
      yield* Effect.forkChild(Effect.ignore(connection.write(Buffer.alloc(10_000))), { startImmediately: true })
      assert.strictEqual(yield* seconds(Scope.close(scope, Exit.void)), 2)
    })))

  it.effect("a server that does not confirm that it has stopped listening is waited for two seconds", () =>
    simulated(Effect.gen(function*() {
      const server = yield* TestPeers.sshServer({ address: "ssh.test:22", forwarding: true })
      const session = yield* Ssh.Ssh.use((ssh) => ssh.connect({ ...server.settings, host: "ssh.test" }))
      const scope = yield* Scope.make()
      yield* Scope.provide(session.forwardRemote("127.0.0.1:0", "db.test:5432"), scope)
      yield* cutOff("ssh.test")
      assert.strictEqual(yield* seconds(Scope.close(scope, Exit.void)), 2)
    })))
})

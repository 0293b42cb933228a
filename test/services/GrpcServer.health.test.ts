import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Grpc from "../../src/services/Grpc.ts"
import * as GrpcSchema from "../../src/services/GrpcSchema.ts"
import * as GrpcServer from "../../src/services/GrpcServer.ts"
import * as Listener from "../../src/services/Listener.ts"
import { grpcJsClient } from "../support/grpc/grpcJs.ts"
import { leavesNothing } from "../support/leaks.ts"
import { describeOnNetworks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"

const schema = GrpcSchema.fromSource(`
  syntax = "proto3";
  package acme;
  message Nothing {}
  message Name { string name = 1; }
  service Who { rpc Are(Nothing) returns (Name); }
`)

/** A server that says its name. */
const serve = Effect.fnUntraced(function*(name: string, options: Partial<GrpcServer.Options> = {}) {
  const who = GrpcServer.service(schema, "acme.Who", { Are: GrpcServer.unary(() => Effect.succeed({ name })) })
  const layer = GrpcServer.layer({ ...options, services: [who] })
  const { address, setHealth } = Context.get(yield* Layer.build(layer), GrpcServer.GrpcServer)
  assert(NetAddress.isInetAddress(address))
  return { address, setHealth, target: NetAddress.formatSocketAddress(address) }
})

const connect = (options: Grpc.ConnectOptions) =>
  Effect.flatMap(Layer.build(Grpc.layer), (context) => Context.get(context, Grpc.Grpc).connect(options))

const connectTo = (server: { readonly target: string }, options: Partial<Grpc.ConnectOptions> = {}) =>
  connect({ url: `http://${server.target}`, schema, ...options })

describeOnNetworks("the health of a gRPC server", (test) => {
  test("is what was said of it", () =>
    Effect.gen(function*() {
      const server = yield* serve("one")
      const channel = yield* connectTo(server)
      assert.strictEqual(yield* channel.health(), "SERVING")
      assert.strictEqual(yield* channel.health("acme.Who"), "SERVING")
      yield* server.setHealth("acme.Who", "NOT_SERVING")
      assert.strictEqual(yield* channel.health("acme.Who"), "NOT_SERVING")
      assert.strictEqual(yield* channel.health(), "SERVING")
      const reason = yield* reasonOf(channel.health("acme.Nobody"))
      assert.strictEqual(reason["_tag"], "NotFound")
    }))

  test("can be watched", () =>
    Effect.gen(function*() {
      const server = yield* serve("one")
      const channel = yield* connectTo(server)
      const seen = yield* Queue.unbounded<string>()
      const watching = yield* Effect.forkChild(
        Stream.runForEach(channel.watchHealth("acme.Late"), (status) => Queue.offer(seen, status))
      )
      assert.strictEqual(yield* Queue.take(seen), "SERVICE_UNKNOWN")
      yield* server.setHealth("acme.Late", "SERVING")
      assert.strictEqual(yield* Queue.take(seen), "SERVING")
      yield* server.setHealth("acme.Late", "NOT_SERVING")
      assert.strictEqual(yield* Queue.take(seen), "NOT_SERVING")
      yield* Fiber.interrupt(watching)
      assert.strictEqual(yield* channel.health("acme.Late"), "NOT_SERVING")
    }))

  test("is not told where that is not wanted", () =>
    Effect.gen(function*() {
      const channel = yield* connectTo(yield* serve("one", { health: false }), { healthCheck: "acme.Who" })
      assert.strictEqual((yield* reasonOf(channel.health()))["_tag"], "Unimplemented")
      // who does not tell is healthy
      assert.deepStrictEqual(yield* channel.unary("acme.Who/Are", {}), { name: "one" })
    }))

  test("keeps calls away from a server that wants none", () =>
    Effect.gen(function*() {
      const servers = [yield* serve("one"), yield* serve("two")] as const
      const [one, two] = servers
      const channel = yield* connectTo(one, {
        endpoints: servers.map(({ target }) => target),
        balancing: "roundRobin",
        healthCheck: "acme.Who",
        // of no effect on watching
        serviceConfig: { methods: [{ names: [""], timeout: "10 seconds" }] }
      })
      const next = Effect.map(channel.unary("acme.Who/Are", {}), ({ name }) => name)
      const answering = (...names: ReadonlyArray<string>) =>
        Effect.gen(function*() {
          for (;;) {
            const seen = new Set(yield* Effect.replicateEffect(next, 6))
            if (seen.size === names.length && names.every((name) => seen.has(name))) return
          }
        })
      yield* answering("one", "two")
      yield* one.setHealth("acme.Who", "NOT_SERVING")
      yield* answering("two")
      yield* two.setHealth("acme.Who", "NOT_SERVING")
      yield* Stream.runDrain(Stream.takeUntil(channel.state, (state) => state === "transientFailure"))
      const error = yield* Effect.flip(channel.unary("acme.Who/Are", {}))
      assert.strictEqual(error._tag, "DialError")
      const waiting = yield* Effect.forkChild(channel.unary("acme.Who/Are", {}, { waitForReady: true }))
      yield* one.setHealth("acme.Who", "SERVING")
      assert.deepStrictEqual(yield* Fiber.join(waiting), { name: "one" })
      yield* answering("one")
      yield* two.setHealth("acme.Who", "SERVING")
      yield* answering("one", "two")
    }), 20_000)

  test("is bad news for who watches a server that stops, which waits for nobody", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const server = yield* Scope.provide(serve("one", { drainTimeout: "1 hour" }), scope)
      const channel = yield* connectTo(server)
      const seen = yield* Queue.unbounded<string>()
      const watching = yield* Effect.forkChild(
        Stream.runForEach(channel.watchHealth(), (status) => Queue.offer(seen, status))
      )
      assert.strictEqual(yield* Queue.take(seen), "SERVING")
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* Queue.take(seen), "NOT_SERVING")
      yield* Fiber.join(watching)
    }))
})

describe("the health of a gRPC server, for grpc-js", () => {
  const test = (
    title: string,
    body: () => Effect.Effect<unknown, unknown, Listener.Listener | Scope.Scope>
  ) => it.live(title, () => leavesNothing(Effect.provide(body(), Listener.layer)))

  const healthOf = (address: NetAddress.SocketAddress) =>
    grpcJsClient(address, "grpc/health/v1/health.proto", "grpc.health.v1.Health")

  test("is checked and listed", () =>
    Effect.gen(function*() {
      const server = yield* serve("one")
      const health = yield* healthOf(server.address)
      assert.deepStrictEqual(yield* health.unary("Check", { service: "acme.Who" }), { status: "SERVING" })
      assert.deepStrictEqual(yield* health.unary("Check", {}), { status: "SERVING" })
      const error = yield* Effect.flip(health.unary("Check", { service: "acme.Nobody" }))
      assert.strictEqual(error.code, 5)
      yield* server.setHealth("", "NOT_SERVING")
      assert.deepStrictEqual(yield* health.unary("List", {}), {
        statuses: { "": { status: "NOT_SERVING" }, "acme.Who": { status: "SERVING" } }
      })
    }))

  test("is watched", () =>
    Effect.gen(function*() {
      const server = yield* serve("one")
      const health = yield* healthOf(server.address)
      const statuses = yield* health.serverStream("Watch", { service: "acme.Late" }).pipe(
        Stream.map(({ status }): unknown => status),
        Stream.tap((status) => server.setHealth("acme.Late", status === "SERVICE_UNKNOWN" ? "NOT_SERVING" : "SERVING")),
        Stream.take(3),
        Stream.runCollect
      )
      assert.deepStrictEqual(statuses, ["SERVICE_UNKNOWN", "NOT_SERVING", "SERVING"])
    }))
})

import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { formatSocketAddress } from "effect/net/NetAddress"
import * as Http from "node:http"
import * as NodeTls from "node:tls"
import * as GrpcSchema from "../../../../src/services/GrpcSchema.ts"
import * as Listener from "../../../../src/services/Listener.ts"
import * as TestCertificates from "../../../../src/testing/TestCertificates.ts"
import { describeOnNetworks } from "../../../support/network.ts"

const pages: { readonly [path: string]: string } = {
  "/orders.proto": `syntax = "proto3"; import "money.proto"; message Order { Money total = 1; }
    service Orders { rpc Get(Order) returns (Order); }`,
  "/money.proto": `syntax = "proto3"; message Money { int64 units = 1; } // ${"long ".repeat(5_000)}`
}

/** Node's own HTTP, on whatever the listener accepts. */
const serve = Effect.fnUntraced(function*(tls?: TestCertificates.Credentials) {
  const listener = yield* Listener.Listener
  const { accept, address } = yield* listener.bind({ host: "127.0.0.1", port: 0 })
  const server = Http.createServer((request, response) => response.end(pages[request.url ?? ""]))
  yield* Effect.forkScoped(Effect.forever(Effect.gen(function*() {
    const duplex = yield* accept
    const socket = tls === undefined
      ? duplex
      : new NodeTls.TLSSocket(duplex, { isServer: true, secureContext: NodeTls.createSecureContext({ ...tls }) })
    socket.on("error", () => {})
    server.emit("connection", socket)
  })))
  return formatSocketAddress(address)
})

describeOnNetworks("fetching", (test) => {
  test("takes any stream that the Dialer gives", () =>
    Effect.gen(function*() {
      const schema = yield* GrpcSchema.fromUrl(`http://${yield* serve()}/orders.proto`)
      assert.deepStrictEqual(schema.files.map(({ name }) => name), ["money.proto", "orders.proto"])
    }), 30_000)

  test("puts TLS inside of it", () =>
    Effect.gen(function*() {
      const authority = yield* TestCertificates.authority()
      const address = yield* serve(yield* authority.issue({ names: ["127.0.0.1"] }))
      const schema = yield* GrpcSchema.fromUrl(`https://${address}/orders.proto`, {
        tls: { ca: authority.certificate }
      })
      assert.lengthOf(schema.services, 1)
    }), 30_000)

  test("leaves nothing when it takes too long on the way", () =>
    Effect.gen(function*() {
      const listener = yield* Listener.Listener
      const { address } = yield* listener.bind({ host: "127.0.0.1", port: 0 })
      const url = `http://${formatSocketAddress(address)}/a.proto`
      const error = yield* Effect.flip(GrpcSchema.fromUrl(url, { timeout: "50 millis" }))
      assert(error._tag === "GrpcSchemaError" && error.reason._tag === "Unfetchable")
      assert.strictEqual(error.reason.why, "no answer within 50ms")
    }))
})

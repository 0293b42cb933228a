import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import type { Duplex } from "node:stream"
import { type ProxyHeader, read as readHeader } from "../../src/internal/proxy/proxyProtocol.ts"
import { server as tlsServer } from "../../src/internal/tls/handshake.ts"
import * as TlsOptions from "../../src/internal/tls/options.ts"
import * as Proxy from "../../src/layers/Proxy.ts"
import * as ProxyProtocol from "../../src/layers/ProxyProtocol.ts"
import * as Tls from "../../src/layers/Tls.ts"
import * as Connection from "../../src/services/Connection.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import { leavesNothing } from "../support/leaks.ts"
import { httpProxy } from "../support/loopbackProxies.ts"
import { keepsPathsApart } from "../support/memoisation.ts"
import { describeOnNetworks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { rawServer, temporaryFolder } from "../support/servers.ts"
import { read, readAll, write } from "../support/streams.ts"

const addresses = (header: ProxyHeader) =>
  [header.source, header.destination].map((end) => end === undefined ? undefined : NetAddress.formatSocketAddress(end))

/** Dials a listener through a layer, and reads the header on the other side. */
const announced = Effect.fnUntraced(function*(
  options: ProxyProtocol.SendOptions,
  address: Dialer.DialTarget = { host: "127.0.0.1", port: 0 }
) {
  const bound = yield* (yield* Listener.Listener).bind(address)
  const client = yield* Dialer.Dialer.use((dialer) => dialer.dial(bound.address)).pipe(
    Effect.provide(ProxyProtocol.layer(options))
  )
  const server = yield* bound.accept
  yield* write(client, "hello")
  const header = yield* readHeader(server)
  assert.strictEqual(String(yield* read(server, 5)), "hello")
  return { bound, client, header, server }
})

const endsOf = (duplex: Duplex) =>
  Effect.map(
    Connection.fromDuplex(duplex),
    ({ localAddress, remoteAddress }) =>
      [localAddress, remoteAddress].map((end) => NetAddress.formatSocketAddress(Option.getOrThrow(end)))
  )

describeOnNetworks("ProxyProtocol", (test) => {
  for (const version of [1, 2] as const) {
    test(`names the ends of the connection itself in a header of version ${version}`, () =>
      Effect.gen(function*() {
        const { client, header } = yield* announced({ version })
        assert.strictEqual(header.version, version)
        assert.strictEqual(header.command, "PROXY")
        assert.deepStrictEqual(addresses(header), yield* endsOf(client))
      }))

    test(`speaks for somebody else in a header of version ${version}`, () =>
      Effect.gen(function*() {
        const { header } = yield* announced({ version, source: "203.0.113.7:51234", destination: "[2001:db8::1]:443" })
        assert.deepStrictEqual(addresses(header), ["[::ffff:203.0.113.7]:51234", "[2001:db8::1]:443"])
      }))
  }

  test("says what else there is to say", () =>
    Effect.gen(function*() {
      const tlvs = { alpn: "h2", authority: "db.test", other: [{ type: 0xe1, value: Buffer.from("x") }] }
      const { header } = yield* announced({ tlvs, checksum: true })
      assert.deepStrictEqual(header.tlvs, tlvs)
    }))

  test("can be one step for one dial", () =>
    Effect.gen(function*() {
      const bound = yield* (yield* Listener.Listener).bind({ host: "127.0.0.1", port: 0 })
      const hop = ProxyProtocol.hop({ source: "203.0.113.7:51234" })
      yield* Dialer.through(yield* Dialer.Dialer, hop).dial(bound.address)
      const header = yield* Effect.flatMap(bound.accept, readHeader)
      assert.strictEqual(addresses(header)[0], "203.0.113.7:51234")
    }))
})

describe("ProxyProtocol", () => {
  const Network = Layer.merge(Dialer.layer, Listener.layer)

  it.live("has nothing to name on a unix socket, unless it is told", () =>
    leavesNothing(
      Effect.gen(function*() {
        const folder = yield* temporaryFolder
        const one = yield* announced({ version: 1 }, { path: `${folder}/1` })
        assert.deepStrictEqual(one.header, { version: 1, command: "LOCAL", tlvs: {} })
        const two = yield* announced({}, { path: `${folder}/2` })
        assert.deepStrictEqual(two.header, { version: 2, command: "LOCAL", tlvs: {} })
        const { header } = yield* announced({ source: { path: "/run/client" } }, { path: `${folder}/3` })
        assert.deepStrictEqual([header.command, ...addresses(header)], ["PROXY", "/run/client", undefined])
        const named = yield* announced({ tlvs: { authority: "db.test" } }, { path: `${folder}/4` })
        assert.deepStrictEqual(named.header, { version: 2, command: "PROXY", tlvs: { authority: "db.test" } })
      }).pipe(Effect.provide(Network), Effect.scoped)
    ))

  it.live("refuses settings that no header can carry, with each dial", () =>
    leavesNothing(Effect.gen(function*() {
      const { address } = yield* rawServer()
      const cases: ReadonlyArray<readonly [ProxyProtocol.SendOptions, string]> = [
        [{ source: "db.test:1" }, ""],
        [{ version: 1, tlvs: { alpn: "h2" } }, "version 1 has neither fields nor a checksum"],
        [{ version: 1, checksum: true }, "version 1 has neither fields nor a checksum"],
        [{ source: { path: "x".repeat(109) }, destination: { path: "y" } }, "a socket path is longer than 108 bytes"]
      ]
      for (const [options, why] of cases) {
        const reason = yield* Dialer.Dialer.use((dialer) => dialer.dial(address)).pipe(
          Effect.scoped,
          reasonOf,
          Effect.provide(ProxyProtocol.layer(options).pipe(Layer.provide(Dialer.layer)))
        )
        assert.strictEqual(reason["_tag"], "InvalidTarget")
        assert.strictEqual(reason["input"], "the PROXY header's settings")
        assert.include(String(reason["why"]), why)
      }
    })))

  it.live("goes before TLS, and through other proxies to the target", () =>
    leavesNothing(
      Effect.gen(function*() {
        const authority = yield* TestCertificates.authority()
        const certificate = yield* authority.issue({ names: ["127.0.0.1"] })
        const bound = yield* (yield* Listener.Listener).bind({ host: "127.0.0.1", port: 0 })
        const proxy = yield* httpProxy()
        const path = Tls.layer({ ca: authority.certificate }).pipe(
          Layer.provide(ProxyProtocol.layer()),
          Layer.provide(Proxy.layer(`http://127.0.0.1:${proxy.port}`)),
          Layer.provide(Dialer.layer)
        )
        const serving = yield* Effect.gen(function*() {
          const socket = yield* bound.accept
          const header = yield* readHeader(socket)
          const secure = yield* tlsServer(
            socket,
            yield* TlsOptions.resolve({ cert: certificate.cert, key: certificate.key })
          )
          secure.end("hello")
          return header
        }).pipe(Effect.forkScoped)
        const client = yield* Effect.provide(Dialer.Dialer.use((dialer) => dialer.dial(bound.address)), path)
        assert.strictEqual(String((yield* readAll(client)).bytes), "hello")
        assert.strictEqual((yield* Fiber.join(serving)).command, "PROXY")
      }).pipe(Effect.provide(Network), Effect.scoped)
    ))
})

keepsPathsApart("ProxyProtocol.layer", () => ProxyProtocol.layer())

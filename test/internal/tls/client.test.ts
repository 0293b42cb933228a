/** What only a client does: it asks for a name, takes up sessions, and knows whom it met. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { X509Certificate } from "node:crypto"
import * as Fs from "node:fs"
import type { Duplex } from "node:stream"
import { client, leadsBeyond, type TlsInfo, tlsInfo } from "../../../src/internal/tls/handshake.ts"
import { resolve, type ResolvedTls } from "../../../src/internal/tls/options.ts"
import * as TestCertificates from "../../../src/testing/TestCertificates.ts"
import { leavesNothing } from "../../support/leaks.ts"
import { temporaryFolder } from "../../support/servers.ts"
import { turns } from "../../support/streams.ts"
import { connectTo, disguised, echoes, nodeServer, shake } from "../../support/tls.ts"

const live = (title: string, body: () => Effect.Effect<unknown, unknown, Scope.Scope>) =>
  it.live(title, () => leavesNothing(Effect.scoped(body())))

const infoOf = (duplex: Duplex): TlsInfo => tlsInfo(duplex) ?? assert.fail("no details")

/** One connection, used and closed: what was agreed on. */
const meet = (
  port: number,
  resolved: ResolvedTls,
  host = "db.test",
  peer?: string,
  over = (it: Duplex): Duplex => it
) =>
  Effect.scoped(Effect.gen(function*() {
    const duplex = yield* client(over(yield* connectTo(port)), resolved, host, peer)
    yield* echoes(duplex)
    return infoOf(duplex)
  }))

const names = ["db.test"]

const secret = Redacted.make("secret")

describe("a client", () => {
  live("takes up its sessions, and still knows whom it met", () =>
    Effect.gen(function*() {
      const { certificate: ca, intermediate } = yield* TestCertificates.authority({ name: "Root" })
      const own = yield* (yield* intermediate({ name: "Middle" })).issue({ names })
      for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
        const { accepted, port } = yield* nodeServer({ ...own, maxVersion })
        const tls = yield* resolve({ ca })
        const met: Array<TlsInfo> = []
        for (let n = 0; n < 5; n++) met.push(yield* meet(port, tls))
        const once = [false, true, true, true, true]
        assert.deepStrictEqual(met.map(({ resumed }) => resumed), once)
        assert.deepStrictEqual(accepted.map(({ resumed }) => resumed), once)
        for (const { peerChain, protocol } of met) {
          assert.strictEqual(protocol, maxVersion)
          assert.deepStrictEqual(peerChain.map(({ subject }) => subject), ["CN=db.test", "CN=Middle", "CN=Root"])
        }
      }
    }))

  live("takes up sessions over streams that are no sockets", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* TestCertificates.authority()
      const { port } = yield* nodeServer(yield* issue({ names }))
      const tls = yield* resolve({ ca })
      const over = (socket: Duplex) => disguised(socket)
      assert.isFalse((yield* meet(port, tls, "db.test", "db", over)).resumed)
      assert.isTrue((yield* meet(port, tls, "db.test", "db", over)).resumed)
    }))

  live(
    "takes up a session with the peer only that it was begun with, and with the same options",
    () =>
      Effect.gen(function*() {
        const { certificate: ca, issue } = yield* TestCertificates.authority()
        const { port } = yield* nodeServer(yield* issue({ names: ["db.test", "web.test"] }))
        const tls = yield* resolve({ ca })
        assert.isFalse((yield* meet(port, tls, "db.test", "db.test:1")).resumed)
        assert.isFalse((yield* meet(port, tls, "web.test", "web.test:1")).resumed)
        assert.isFalse((yield* meet(port, tls, "db.test", "db.test:2")).resumed)
        assert.isTrue((yield* meet(port, tls, "db.test", "db.test:1")).resumed)
        assert.isFalse((yield* meet(port, yield* resolve({ ca }), "db.test", "db.test:1")).resumed)
      })
  )

  live("begins anew when the server has forgotten, or when it is told not to resume", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* TestCertificates.authority()
      const own = yield* issue({ names })
      const [tls, never] = [yield* resolve({ ca }), yield* resolve({ ca, resumption: false })]
      const [before, after] = [yield* nodeServer(own), yield* nodeServer(own)]
      assert.isFalse((yield* meet(before.port, tls)).resumed)
      assert.isFalse((yield* meet(after.port, tls)).resumed)
      assert.isTrue((yield* meet(after.port, tls)).resumed)
      for (let n = 0; n < 2; n++) assert.isFalse((yield* meet(after.port, never)).resumed)
    }))

  live("keeps no session with a peer that it refused", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* TestCertificates.authority()
      const { port } = yield* nodeServer(yield* issue({ names }))
      const wrong = yield* resolve({ ca, pin: "0".repeat(64) })
      for (let n = 0; n < 2; n++) {
        assert.strictEqual((yield* Effect.flip(Effect.scoped(meet(port, wrong)))).check, "pin")
      }
      const unsafe = yield* resolve({ insecureSkipVerify: true })
      assert.isFalse((yield* meet(port, unsafe)).resumed)
      assert.isTrue((yield* meet(port, unsafe)).resumed)
      assert.isUndefined(wrong.sessions?.take("db.test"))
    }))

  live("forgets the sessions of a peer who has become another", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* TestCertificates.authority()
      const before = yield* nodeServer(yield* issue({ names }))
      const after = yield* nodeServer(yield* (yield* TestCertificates.authority()).issue({ names }))
      const tls = yield* resolve({ ca })
      yield* meet(before.port, tls)
      assert.strictEqual((yield* Effect.flip(meet(after.port, tls))).check, "issuer")
      assert.isFalse((yield* meet(before.port, tls)).resumed)
    }))

  live("asks for the name, but never for an address", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* TestCertificates.authority()
      const { accepted, port } = yield* nodeServer(yield* issue({ names: ["db.test", "127.0.0.1", "::1"] }))
      const asked: Array<string | undefined> = []
      for (const host of ["db.test", "127.0.0.1", "::1"]) {
        asked.push(infoOf(yield* shake(port, { ca }, host)).servername)
      }
      asked.push(infoOf(yield* shake(port, { ca, servername: "db.test" }, "127.0.0.1")).servername)
      assert.deepStrictEqual(asked, ["db.test", undefined, undefined, "db.test"])
      while (accepted.length < 4) yield* turns(1)
      assert.deepStrictEqual(accepted.map(({ servername }) => servername), ["db.test", false, false, "db.test"])
    }))

  live(
    "tells everything of the certificates it was shown, also after the connection is closed",
    () =>
      Effect.gen(function*() {
        const root = yield* TestCertificates.authority({ name: "Root" })
        const own = yield* root.issue({ names: ["db.test", "10.0.0.1"], commonName: "the db" })
        const { port } = yield* nodeServer(own)
        const info = yield* meet(port, yield* resolve({ ca: root.certificate }))
        const [expected, issuer] = [new X509Certificate(own.cert), new X509Certificate(root.certificate)]
        assert.deepStrictEqual(info.peerChain.map(({ fingerprint256 }) => fingerprint256), [
          expected.fingerprint256,
          issuer.fingerprint256
        ])
        assert.deepInclude(info.peer, {
          subject: "CN=the db",
          issuer: "CN=Root",
          subjectAltName: "DNS:db.test, IP Address:10.0.0.1",
          validFrom: new Date("2020-01-01T00:00:00Z"),
          validTo: new Date("2049-12-31T23:59:59Z")
        })
        assert.match(info.cipher, /^TLS_/)
        assert.strictEqual(info.peer, info.peerChain[0])
        // its pin is what the option takes
        yield* shake(port, { insecureSkipVerify: true, pin: info.peer?.pin ?? "" })
        yield* shake(port, { ca: root.certificate, pin: info.peer?.pin ?? "" })
      })
  )

  live("tells whom it met also when it did not verify that", () =>
    Effect.gen(function*() {
      const own = yield* TestCertificates.selfSigned({ names: ["other.test"], ...TestCertificates.expired })
      const { port } = yield* nodeServer(own)
      const info = infoOf(yield* shake(port, { insecureSkipVerify: true }))
      assert.deepStrictEqual(info.peerChain.map(({ subject }) => subject), ["CN=other.test"])
    }))

  live("has no details of what lies beyond", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* TestCertificates.authority()
      const { port } = yield* nodeServer(yield* issue({ names }))
      assert.isUndefined(tlsInfo(leadsBeyond(yield* shake(port, { ca }))))
    }))

  live("shows its certificate, from PEM or PKCS #12", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* TestCertificates.authority()
      const { accepted, port } = yield* nodeServer({
        ...(yield* issue({ names })),
        ca,
        requestCert: true,
        rejectUnauthorized: true
      })
      const alice = yield* issue({ names: [], client: true })
      const pfx = yield* TestCertificates.pfx(alice, "secret")
      const path = `${yield* temporaryFolder}/alice.p12`
      Fs.writeFileSync(path, pfx)
      for (const own of [alice, { pfx, passphrase: secret }, { pfx: path, passphrase: secret }]) {
        yield* echoes(yield* shake(port, { ca, ...own }))
      }
      assert.strictEqual(accepted.length, 3)
    }))

  live("writes the keys down where it is told to", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* TestCertificates.authority()
      const { port } = yield* nodeServer(yield* issue({ names }))
      const keyLog = `${yield* temporaryFolder}/keys.log`
      yield* echoes(yield* shake(port, { ca, keyLog }))
      while (!/^SERVER_TRAFFIC_SECRET_0 [0-9a-f]{64} /m.test(Fs.readFileSync(keyLog, "utf8"))) {
        yield* turns(1)
      }
    }))
})

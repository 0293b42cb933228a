/** Every check of a handshake against Node's own servers and clients: what fails, what was expected and what came. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { X509Certificate } from "node:crypto"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import type * as NodeTls from "node:tls"
import { client, server } from "../../../src/internal/tls/handshake.ts"
import { resolve, resolveServer, type TlsOptions } from "../../../src/internal/tls/options.ts"
import { ofPublicKey } from "../../../src/internal/tls/pin.ts"
import * as TestCertificates from "../../../src/testing/TestCertificates.ts"
import { leavesNothing } from "../../support/leaks.ts"
import {
  disguised,
  echoes,
  listening,
  nextConnection,
  nodeClient,
  nodeServer,
  shake,
  socketPair,
  told
} from "../../support/tls.ts"

const names = ["db.test"]
const authority = TestCertificates.authority({ name: "Root" })

const pinOf = ({ cert }: TestCertificates.Credentials) =>
  ofPublicKey(new X509Certificate(cert).publicKey.export({ type: "spki", format: "der" }))

const streams: Record<string, (socket: Net.Socket) => Duplex> = {
  "on a socket": (socket) => socket,
  "on a stream that is no socket": disguised
}

for (const [where, over] of Object.entries(streams)) {
  describe(`a client's handshake ${where}`, () => {
    const live = (title: string, body: () => Effect.Effect<unknown, unknown, Scope.Scope>) =>
      it.live(title, () => leavesNothing(Effect.scoped(body())))

    /** What a client is told by a server with these options. */
    const refusal = Effect.fnUntraced(function*(
      serverOptions: NodeTls.TlsOptions,
      clientOptions: TlsOptions,
      host = "db.test"
    ) {
      const { port } = yield* nodeServer(serverOptions)
      return yield* Effect.flip(shake(port, clientOptions, host, over))
    })

    live("passes", () =>
      Effect.gen(function*() {
        const { certificate: ca, issue } = yield* authority
        const { port } = yield* nodeServer(yield* issue({ names }))
        yield* echoes(yield* shake(port, { ca }, "db.test", over))
      }))

    live("passes through intermediate authorities, and with RSA keys", () =>
      Effect.gen(function*() {
        for (const keyType of ["ec", "rsa"] as const) {
          const root = yield* TestCertificates.authority({ keyType })
          const middle = yield* (yield* root.intermediate({ name: "Upper", keyType })).intermediate({ name: "Lower" })
          const { port } = yield* nodeServer(yield* middle.issue({ names, keyType }))
          yield* echoes(yield* shake(port, { ca: root.certificate }, "db.test", over))
        }
      }))

    live("tells of a wrong name", () =>
      Effect.gen(function*() {
        const { certificate: ca, issue } = yield* authority
        const web = yield* issue({ names: ["web.test", "10.0.0.1"] })
        const error = yield* refusal(web, { ca })
        assert.deepStrictEqual(told(error), {
          check: "name",
          expected: "a certificate for \"db.test\"",
          received: "one for DNS:web.test, IP Address:10.0.0.1"
        })
        assert.strictEqual(
          error.message,
          "TLS handshake with \"db.test\" failed on the name check: expected a certificate for \"db.test\", got one for "
            + "DNS:web.test, IP Address:10.0.0.1 (ERR_TLS_CERT_ALTNAME_INVALID)"
        )
        assert.strictEqual(
          (yield* refusal(web, { ca, servername: "mail.test" }, "web.test")).expected,
          "a certificate for \"mail.test\""
        )
        const nameless = yield* refusal(yield* issue({ names: [], commonName: "web.test" }), { ca })
        assert.strictEqual(nameless.received, "one for \"CN=web.test\", without names")
      }))

    live("tells of a certificate that has expired or is not valid yet", () =>
      Effect.gen(function*() {
        const { certificate: ca, issue } = yield* authority
        const expired = yield* refusal(yield* issue({ names, ...TestCertificates.expired }), { ca })
        assert.strictEqual(expired.check, "expired")
        assert.match(expired.expected ?? "", /^certificates that are valid at 20..-..-..T.*Z$/)
        assert.strictEqual(expired.received, "\"CN=db.test\", valid until 2021-01-01T00:00:00.000Z")
        const future = yield* refusal(yield* issue({ names, ...TestCertificates.notYetValid }), { ca })
        assert.strictEqual(future.check, "notYetValid")
        assert.strictEqual(future.received, "\"CN=db.test\", valid from 2049-01-01T00:00:00.000Z")
      }))

    live("tells which authority of the chain has expired", () =>
      Effect.gen(function*() {
        const { certificate: ca, intermediate } = yield* authority
        const old = yield* intermediate({ name: "Old", ...TestCertificates.expired })
        const error = yield* refusal(yield* old.issue({ names }), { ca })
        assert.deepStrictEqual([error.check, error.received], [
          "expired",
          "\"CN=Old\", valid until 2021-01-01T00:00:00.000Z"
        ])
      }))

    live("tells of an issuer that is not trusted", () =>
      Effect.gen(function*() {
        const stranger = yield* TestCertificates.authority({ name: "Stranger" })
        const { certificate: ca } = yield* authority
        for (const options of [{ ca }, {}]) {
          assert.deepStrictEqual(told(yield* refusal(yield* stranger.issue({ names }), options)), {
            check: "issuer",
            expected: "a certificate that a trusted authority issued for this purpose",
            received: "\"CN=db.test\", issued by \"CN=Stranger\""
          })
        }
        // a server that does not send the authorities in between
        const { cert, key } = yield* (yield* stranger.intermediate()).issue({ names })
        const alone = cert.slice(0, cert.indexOf("-----BEGIN", 1))
        const incomplete = yield* refusal({ cert: alone, key }, { ca: stranger.certificate })
        assert.deepStrictEqual([incomplete.check, incomplete.code], ["issuer", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"])
      }))

    live("tells of a certificate that issued itself", () =>
      Effect.gen(function*() {
        const { certificate: ca } = yield* authority
        const own = yield* TestCertificates.selfSigned({ names })
        const error = yield* refusal(own, { ca })
        assert.deepStrictEqual([error.check, error.received], ["selfSigned", "\"CN=db.test\", issued by itself"])
        const { port } = yield* nodeServer(own)
        yield* echoes(yield* shake(port, { ca: own.cert }, "db.test", over))
      }))

    live("tells of a certificate that is revoked, or of which that is not known", () =>
      Effect.gen(function*() {
        const root = yield* authority
        const ca = root.certificate
        const [good, bad] = [yield* root.issue({ names }), yield* root.issue({ names })]
        const crl = yield* root.revocationList([bad])
        const { port } = yield* nodeServer(good)
        yield* echoes(yield* shake(port, { ca, crl }, "db.test", over))
        assert.deepStrictEqual(told(yield* refusal(bad, { ca, crl })), {
          check: "revoked",
          expected: "certificates that are not revoked",
          received: "\"CN=db.test\", issued by \"CN=Root\", which are not all good any more"
        })
        const other = yield* (yield* TestCertificates.authority({ name: "Other" })).revocationList([])
        const outdated = yield* root.revocationList([], { nextUpdate: new Date("2021-01-01") })
        for (const [crl, code] of [[other, "UNABLE_TO_GET_CRL"], [outdated, "CRL_HAS_EXPIRED"]] as const) {
          const error = yield* refusal(good, { ca, crl })
          assert.deepStrictEqual(
            [error.check, error.code, error.expected],
            ["revoked", code, "a current revocation list of each issuer"]
          )
        }
        // an authority in the middle is asked for too
        const middle = yield* root.intermediate({ name: "Middle" })
        const below = yield* middle.issue({ names })
        assert.strictEqual((yield* refusal(below, { ca, crl })).code, "UNABLE_TO_GET_CRL")
        const both = yield* nodeServer(below)
        yield* echoes(
          yield* shake(both.port, { ca, crl: [crl, yield* middle.revocationList([])] }, "db.test", over)
        )
      }))

    live("tells of a key that is not pinned, whatever else is verified", () =>
      Effect.gen(function*() {
        const { certificate: ca, issue } = yield* authority
        const [pinned, other] = [yield* issue({ names }), yield* issue({ names })]
        const pin = pinOf(pinned)
        const { port } = yield* nodeServer(pinned)
        for (const options of [{ ca, pin }, { ca, pin: [pinOf(other), pin] }, { insecureSkipVerify: true, pin }]) {
          yield* echoes(yield* shake(port, options, "db.test", over))
        }
        for (const options of [{ ca, pin }, { insecureSkipVerify: true, pin }]) {
          const error = yield* refusal(other, options)
          assert.deepStrictEqual(told(error), { check: "pin", expected: pin, received: pinOf(other) })
          assert.strictEqual(error.code, "PIN_MISMATCH")
        }
        // a pin does not stand for the other checks
        assert.strictEqual((yield* refusal(pinned, { pin })).check, "issuer")
      }))

    live("tells that the server wants a client certificate, or does not accept ours", () =>
      Effect.gen(function*() {
        const { certificate: ca, issue } = yield* authority
        const demanding: NodeTls.TlsOptions = {
          ...(yield* issue({ names })),
          ca,
          maxVersion: "TLSv1.2",
          requestCert: true,
          rejectUnauthorized: true
        }
        const expected = "a client certificate that the server accepts"
        assert.deepStrictEqual(told(yield* refusal(demanding, { ca })), {
          check: "clientCertificate",
          expected,
          received: "none"
        })
      }))

    live("tells of having no version in common", () =>
      Effect.gen(function*() {
        const { certificate: ca, issue } = yield* authority
        const credentials = yield* issue({ names })
        for (
          const [theirs, ours, expected] of [
            [{ maxVersion: "TLSv1.2" }, { minVersion: "TLSv1.3" }, "TLSv1.3"],
            [{ minVersion: "TLSv1.3" }, { maxVersion: "TLSv1.2" }, "TLSv1.2"]
          ] as const
        ) {
          assert.deepStrictEqual(told(yield* refusal({ ...credentials, ...theirs }, { ca, ...ours })), {
            check: "protocol",
            expected,
            received: "a server that speaks only others"
          })
        }
      }))

    live("tells of having no cipher in common", () =>
      Effect.gen(function*() {
        const { certificate: ca, issue } = yield* authority
        const credentials = yield* issue({ names })
        for (
          const [theirs, ours] of [
            ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"],
            ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"]
          ] as const
        ) {
          const maxVersion = theirs.startsWith("TLS_") ? "TLSv1.3" : "TLSv1.2"
          const error = yield* refusal({ ...credentials, ciphers: theirs, maxVersion }, {
            ca,
            ciphers: ours,
            maxVersion
          })
          assert.deepStrictEqual(told(error), {
            check: "protocol",
            expected: "a cipher suite in common",
            received: "a server that has none"
          })
        }
      }))

    live("tells of having no ALPN protocol in common", () =>
      Effect.gen(function*() {
        const { certificate: ca, issue } = yield* authority
        const error = yield* refusal({ ...(yield* issue({ names })), ALPNProtocols: ["h2"] }, {
          ca,
          alpn: ["echo/1", "echo/2"]
        })
        assert.deepStrictEqual(told(error), {
          check: "protocol",
          expected: "one of the protocols \"echo/1\", \"echo/2\"",
          received: "a server that speaks none of them"
        })
      }))

    live("tells that the server does not speak TLS, or says nothing more", () =>
      Effect.gen(function*() {
        const { certificate: ca } = yield* authority
        const mail = yield* listening(
          Net.createServer((socket) => void socket.on("error", () => {}).write("220 hi\r\n"))
        )
        assert.deepStrictEqual(told(yield* Effect.flip(shake(mail.port, { ca }, "db.test", over))), {
          check: "protocol",
          expected: "TLS",
          received: "a server that does not speak it"
        })
        const curt = yield* listening(Net.createServer((socket) => void socket.on("error", () => {}).resume().end()))
        const error = yield* Effect.flip(shake(curt.port, { ca }, "db.test", over))
        assert.deepStrictEqual([error.check, error.isRetryable], ["closed", true])
      }))
  })

  describe(`a server's handshake ${where}`, () => {
    const live = (title: string, body: () => Effect.Effect<unknown, unknown, Scope.Scope>) =>
      it.live(title, () => leavesNothing(Effect.scoped(body())))

    /** What our server is told of a client of Node's. */
    const refusal = Effect.fnUntraced(function*(serverOptions: TlsOptions, clientOptions: NodeTls.ConnectionOptions) {
      const resolved = yield* Effect.orDie(resolveServer(serverOptions))
      const { port, server: raw } = yield* listening(Net.createServer({ allowHalfOpen: true }))
      const shaking = Effect.flatMap(nextConnection(raw), (socket) => server(over(socket), resolved))
      const [error] = yield* Effect.all([
        Effect.flip(shaking),
        Effect.ignore(nodeClient(port, { servername: "db.test", ...clientOptions }))
      ], { concurrency: "unbounded" })
      return error
    })

    const credentials = Effect.gen(function*() {
      const { certificate: ca, issue } = yield* authority
      return { ca, issue, own: yield* issue({ names }) }
    })

    live("tells of a client without a certificate", () =>
      Effect.gen(function*() {
        const { ca, own } = yield* credentials
        for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
          const error = yield* refusal({ ...own, ca, requestClientCertificate: true, maxVersion }, { ca })
          assert.deepStrictEqual(told(error), {
            check: "clientCertificate",
            expected: "a client certificate",
            received: "none"
          })
        }
      }))

    live("tells of a client whose certificate is not accepted, and why", () =>
      Effect.gen(function*() {
        const { ca, issue, own } = yield* credentials
        const stranger = yield* TestCertificates.authority({ name: "Stranger" })
        const client = { names: [], commonName: "alice", client: true }
        const revoked = yield* issue(client)
        const root = yield* authority
        const cases = [
          [yield* stranger.issue(client), "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "issued by \"CN=Stranger\""],
          [yield* issue({ ...client, ...TestCertificates.expired }), "CERT_HAS_EXPIRED", "valid until 2021"],
          [yield* issue({ names: [], commonName: "alice" }), "INVALID_PURPOSE", "\"CN=alice\""],
          [yield* TestCertificates.selfSigned(client), "DEPTH_ZERO_SELF_SIGNED_CERT", "issued by itself"]
        ] as const
        for (const [theirs, code, received] of cases) {
          const error = yield* refusal({ ...own, ca, requestClientCertificate: true }, { ca, ...theirs })
          assert.deepStrictEqual([error.check, error.code], ["clientCertificate", code])
          assert.include(error.received ?? "", received)
        }
        const serverOptions = {
          ...(yield* root.issue({ names })),
          ca: root.certificate,
          requestClientCertificate: true
        }
        const bob = yield* root.issue(client)
        const crl = yield* root.revocationList([bob])
        const error = yield* refusal({ ...serverOptions, crl }, { ca: root.certificate, ...bob })
        assert.deepStrictEqual([error.check, error.code], ["clientCertificate", "CERT_REVOKED"])
        const pinned = yield* refusal(
          { ...own, requestClientCertificate: true, insecureSkipVerify: true, pin: pinOf(own) },
          { ca, ...revoked }
        )
        assert.deepStrictEqual(told(pinned), { check: "pin", expected: pinOf(own), received: pinOf(revoked) })
      }))

    live("tells of having nothing in common", () =>
      Effect.gen(function*() {
        const { ca, own } = yield* credentials
        assert.deepStrictEqual(told(yield* refusal({ ...own, alpn: ["h2"] }, { ca, ALPNProtocols: ["a", "b"] })), {
          check: "protocol",
          expected: "one of the protocols \"h2\"",
          received: "an offer of \"a\", \"b\""
        })
        assert.deepStrictEqual(told(yield* refusal({ ...own, minVersion: "TLSv1.3" }, { ca, maxVersion: "TLSv1.2" })), {
          check: "protocol",
          expected: "TLSv1.3",
          received: "a client that speaks only others"
        })
        const suites = [{ ciphers: "TLS_AES_128_GCM_SHA256" }, { ca, ciphers: "TLS_AES_256_GCM_SHA384" }] as const
        assert.deepStrictEqual(told(yield* refusal({ ...own, ...suites[0] }, suites[1])), {
          check: "protocol",
          expected: "a cipher suite in common",
          received: "a client that has none"
        })
      }))
  })
}

describe("a stream that cannot carry a handshake", () => {
  const each = (title: string, spoil: (ours: Duplex, theirs: Net.Socket) => Effect.Effect<unknown>, code: string) =>
    it.live(title, () =>
      leavesNothing(Effect.scoped(Effect.gen(function*() {
        const { certificate: ca, issue } = yield* authority
        const [mine, serving] = [yield* resolve({ ca }), yield* resolveServer(yield* issue({ names }))]
        const sides = [
          (duplex: Duplex) => client(duplex, mine, "db.test"),
          (duplex: Duplex) => server(duplex, serving)
        ]
        for (const over of Object.values(streams)) {
          for (const side of sides) {
            const { ours, theirs } = yield* socketPair
            const duplex = over(ours)
            yield* spoil(duplex, theirs)
            assert.strictEqual((yield* Effect.flip(side(duplex))).code, code)
          }
        }
      }))))

  each("fails as closed when it is destroyed", (ours) => Effect.sync(() => ours.destroy()), "ECONNRESET")

  each("fails as closed when its end has been read", (ours, theirs) =>
    Effect.callback((resume) => {
      ours.once("end", () => resume(Effect.void)).resume()
      theirs.end()
    }), "ECONNRESET")

  // Node ends the process when such a stream has something buffered
  each("fails when it gives text", (ours, theirs) =>
    Effect.callback((resume) => {
      ours.setEncoding("utf8").once("readable", () => resume(Effect.void))
      theirs.write("early")
    }), "ERR_STREAM_WRAP")
})

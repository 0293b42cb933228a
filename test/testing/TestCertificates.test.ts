import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as MutableRef from "effect/MutableRef"
import { createPrivateKey, X509Certificate } from "node:crypto"
import * as NodeTls from "node:tls"
import { resolve } from "../../src/internal/tls/options.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"

const day = 24 * 60 * 60 * 1000
const daysFromNow = (days: number) => new Date(Date.now() + days * day)

/** A TLS server on loopback that says "hello" to whom it accepts. */
const serve = (options: NodeTls.TlsOptions) =>
  Effect.acquireRelease(
    Effect.callback<NodeTls.Server>((resume) => {
      const server = NodeTls.createServer(options, (socket) => void socket.on("error", () => {}).end("hello"))
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
  ).pipe(Effect.map((server) => {
    const address = server.address()
    return typeof address === "object" && address !== null ? address.port : 0
  }))

/** `"hello"`, or the code of what went wrong: node:tls itself is the judge. */
const greet = (port: number, options: NodeTls.ConnectionOptions) =>
  Effect.callback<string>((resume) => {
    const socket = NodeTls.connect({ host: "127.0.0.1", port, ...options })
    socket.setEncoding("utf8")
    socket.once("close", () => resume(Effect.succeed("closed")))
    socket.once("data", (text: string) => resume(Effect.succeed(text)))
    socket.once("error", (error: NodeJS.ErrnoException) => resume(Effect.succeed(error.code ?? error.message)))
    return Effect.sync(() => void socket.destroy())
  })

describe("TestCertificates", () => {
  it.effect("gives a certificate with the fields that strict clients look for", () =>
    Effect.gen(function*() {
      const authority = yield* TestCertificates.authority({ name: "Root of the test" })
      const { cert, key } = yield* authority.issue({
        names: ["localhost", "*.example.test", "127.0.0.1", "::1"],
        commonName: "a service"
      })
      const root = new X509Certificate(authority.certificate)
      const leaf = new X509Certificate(cert)
      assert.strictEqual(root.subject, "CN=Root of the test")
      assert.isTrue(root.ca)
      assert.strictEqual(leaf.subject, "CN=a service")
      assert.strictEqual(leaf.issuer, "CN=Root of the test")
      assert.isFalse(leaf.ca)
      assert.isTrue(leaf.checkIssued(root))
      assert.isTrue(leaf.verify(root.publicKey))
      assert.isTrue(leaf.checkPrivateKey(createPrivateKey(key)))
      assert.strictEqual(leaf.checkHost("localhost"), "localhost")
      assert.strictEqual(leaf.checkHost("db.example.test"), "*.example.test")
      assert.isUndefined(leaf.checkHost("example.com"))
      assert.strictEqual(leaf.checkIP("127.0.0.1"), "127.0.0.1")
      assert.strictEqual(leaf.checkIP("::1"), "::1")
      assert.isUndefined(leaf.checkIP("127.0.0.2"))
      assert.deepStrictEqual(leaf.keyUsage, ["1.3.6.1.5.5.7.3.1"])
    }))
  it.effect("gives every certificate a serial number and a key of its own", () =>
    Effect.gen(function*() {
      const authority = yield* TestCertificates.authority()
      const issued = yield* Effect.forEach([1, 2, 3], () => authority.issue({ names: ["localhost"] }))
      assert.strictEqual(new Set(issued.map(({ cert }) => new X509Certificate(cert).serialNumber)).size, 3)
      assert.strictEqual(new Set(issued.map(({ key }) => key)).size, 3)
    }))
  it.live("is accepted for its names and addresses, and for no other", () =>
    Effect.gen(function*() {
      const authority = yield* TestCertificates.authority()
      const port = yield* serve(yield* authority.issue({ names: ["localhost", "127.0.0.1"] }))
      const ca = authority.certificate
      assert.strictEqual(yield* greet(port, { ca }), "hello")
      assert.strictEqual(yield* greet(port, { ca, servername: "localhost" }), "hello")
      assert.strictEqual(yield* greet(port, { ca, servername: "other.test" }), "ERR_TLS_CERT_ALTNAME_INVALID")
    }))
  it.live("is refused by who trusts another authority, even one of the same name", () =>
    Effect.gen(function*() {
      const port = yield* serve(yield* (yield* TestCertificates.authority()).issue({ names: ["localhost"] }))
      const { certificate } = yield* TestCertificates.authority()
      assert.strictEqual(
        yield* greet(port, { ca: certificate, servername: "localhost" }),
        "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
      )
      assert.strictEqual(yield* greet(port, { servername: "localhost" }), "UNABLE_TO_VERIFY_LEAF_SIGNATURE")
      const other = yield* TestCertificates.authority({ name: "Another" })
      assert.strictEqual(
        yield* greet(port, { ca: other.certificate, servername: "localhost" }),
        "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
      )
    }))
  it.live("is refused outside its dates", () =>
    Effect.gen(function*() {
      const authority = yield* TestCertificates.authority()
      const names = ["127.0.0.1"]
      const expired = yield* serve(yield* authority.issue({ names, notAfter: daysFromNow(-1) }))
      const future = yield* serve(yield* authority.issue({ names, notBefore: daysFromNow(1) }))
      const century = yield* serve(yield* authority.issue({ names, notAfter: new Date("2099-12-31T00:00:00Z") }))
      const ca = authority.certificate
      assert.strictEqual(yield* greet(expired, { ca }), "CERT_HAS_EXPIRED")
      assert.strictEqual(yield* greet(future, { ca }), "CERT_NOT_YET_VALID")
      assert.strictEqual(yield* greet(century, { ca }), "hello")
    }))
  it.live("is refused when its authority has expired", () =>
    Effect.gen(function*() {
      const authority = yield* TestCertificates.authority({ notAfter: daysFromNow(-1) })
      const port = yield* serve(yield* authority.issue({ names: ["127.0.0.1"] }))
      assert.strictEqual(yield* greet(port, { ca: authority.certificate }), "CERT_HAS_EXPIRED")
    }))
  it.live("authenticates clients (mutual TLS), and only with a client's certificate", () =>
    Effect.gen(function*() {
      const authority = yield* TestCertificates.authority()
      const ca = authority.certificate
      const server = yield* authority.issue({ names: ["127.0.0.1"] })
      const port = yield* serve({ ...server, ca, requestCert: true, rejectUnauthorized: true })
      const client = yield* authority.issue({ names: [], commonName: "alice", client: true })
      assert.strictEqual(yield* greet(port, { ca, ...client }), "hello")
      assert.strictEqual(yield* greet(port, { ca }), "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED")
      assert.strictEqual(yield* greet(port, { ca, ...server }), "closed")
      const stranger = yield* (yield* TestCertificates.authority()).issue({ names: [], client: true })
      assert.strictEqual(yield* greet(port, { ca, ...stranger }), "closed")
      const clientAsServer = yield* serve(yield* authority.issue({ names: ["127.0.0.1"], client: true }))
      assert.strictEqual(yield* greet(clientAsServer, { ca }), "INVALID_PURPOSE")
    }))
  it.live("gives its shorthands for dates that are over or to come", () =>
    Effect.gen(function*() {
      const authority = yield* TestCertificates.authority()
      const [names, ca] = [["127.0.0.1"], authority.certificate]
      const expired = yield* serve(yield* authority.issue({ names, ...TestCertificates.expired }))
      const future = yield* serve(yield* authority.issue({ names, ...TestCertificates.notYetValid }))
      assert.strictEqual(yield* greet(expired, { ca }), "CERT_HAS_EXPIRED")
      assert.strictEqual(yield* greet(future, { ca }), "CERT_NOT_YET_VALID")
    }))
  it.live("makes authorities below an authority, with EC and RSA keys", () =>
    Effect.gen(function*() {
      for (const [upper, lower] of [["ec", "rsa"], ["rsa", "ec"]] as const) {
        const root = yield* TestCertificates.authority({ keyType: upper })
        const middle = yield* root.intermediate({ name: "Middle", keyType: lower })
        const credentials = yield* middle.issue({ names: ["127.0.0.1"], keyType: upper })
        assert.strictEqual(new X509Certificate(middle.certificate).issuer, "CN=Test authority")
        assert.isTrue(new X509Certificate(middle.certificate).verify(new X509Certificate(root.certificate).publicKey))
        assert.strictEqual(new X509Certificate(credentials.cert).issuer, "CN=Middle")
        assert.strictEqual(new X509Certificate(credentials.cert).publicKey.asymmetricKeyType, upper)
        assert.strictEqual(credentials.cert.match(/BEGIN CERTIFICATE/g)?.length, 2)
        assert.strictEqual(yield* greet(yield* serve(credentials), { ca: root.certificate }), "hello")
      }
    }))
  it.live("makes certificates that vouch for themselves", () =>
    Effect.gen(function*() {
      const own = yield* TestCertificates.selfSigned({ names: ["127.0.0.1"] })
      const port = yield* serve(own)
      assert.strictEqual(yield* greet(port, { ca: own.cert }), "hello")
      assert.strictEqual(yield* greet(port, {}), "DEPTH_ZERO_SELF_SIGNED_CERT")
    }))
  it.live("makes revocation lists", () =>
    Effect.gen(function*() {
      const authority = yield* TestCertificates.authority({ keyType: "rsa" })
      const ca = authority.certificate
      const [good, bad] = [
        yield* authority.issue({ names: ["127.0.0.1"] }),
        yield* authority.issue({ names: ["127.0.0.1"] })
      ]
      const crl = yield* authority.revocationList([bad])
      const current = yield* authority.revocationList([])
      const outdated = yield* authority.revocationList([], { nextUpdate: daysFromNow(-1) })
      const future = yield* authority.revocationList([], { thisUpdate: daysFromNow(1) })
      assert.strictEqual(yield* greet(yield* serve(good), { ca, crl }), "hello")
      assert.strictEqual(yield* greet(yield* serve(bad), { ca, crl }), "CERT_REVOKED")
      assert.strictEqual(yield* greet(yield* serve(bad), { ca, crl: current }), "hello")
      assert.strictEqual(yield* greet(yield* serve(good), { ca, crl: outdated }), "CRL_HAS_EXPIRED")
      assert.strictEqual(yield* greet(yield* serve(good), { ca, crl: future }), "CRL_NOT_YET_VALID")
    }))
  it.live("packs a certificate, its chain and its key as PKCS #12", () =>
    Effect.gen(function*() {
      const root = yield* TestCertificates.authority()
      const middle = yield* root.intermediate()
      for (const [passphrase, keyType] of [["open sesame", "ec"], ["Сезам", "rsa"], ["x".repeat(70), "ec"]] as const) {
        const credentials = yield* middle.issue({ names: ["127.0.0.1"], keyType })
        const pfx = Buffer.from(yield* TestCertificates.pfx(credentials, passphrase))
        assert.strictEqual(yield* greet(yield* serve({ pfx, passphrase }), { ca: root.certificate }), "hello")
        for (const wrong of [{}, { passphrase: "hocus pocus" }]) {
          assert.throws(() => NodeTls.createSecureContext({ pfx, ...wrong }), /mac verify failure/)
        }
      }
    }))
  it.live("fits the TLS options as it is", () =>
    Effect.gen(function*() {
      const authority = yield* TestCertificates.authority()
      const client = yield* resolve({ ca: authority.certificate })
      yield* resolve(yield* authority.issue({ names: ["127.0.0.1"] }))
      const port = yield* serve(yield* authority.issue({ names: ["127.0.0.1"] }))
      const secureContext = MutableRef.get(client.contexts).general
      assert.strictEqual(yield* greet(port, { secureContext }), "hello")
    }))
})

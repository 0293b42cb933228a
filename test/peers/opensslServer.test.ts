import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { TlsHandshake } from "../../src/errors/DialError.ts"
import * as Tls from "../../src/layers/Tls.ts"
import type * as Connection from "../../src/services/Connection.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import { Certificates } from "./support/certificates.ts"
import { opensslServer } from "./support/opensslServer.ts"
import { folder, run, services } from "./support/peer.ts"

const connect = (port: number, tls: Tls.TlsOptions) =>
  Effect.flatMap(TcpClient.TcpClient, (tcp) => tcp.connect({ host: "127.0.0.1", port })).pipe(
    Effect.provide(TcpClient.layer.pipe(Layer.provide(Tls.layer(tls)), Layer.provide(Dialer.layer)))
  )

/** Says something, hears it reversed, and leaves: s_server serves one after the other. */
const converses = Effect.fnUntraced(function*(connection: Connection.Connection) {
  yield* connection.write("live\n")
  assert.strictEqual(yield* connection.readLine(), "evil")
  yield* connection.close
})

const refusal = (port: number, tls: Tls.TlsOptions) =>
  Effect.map(Effect.flip(connect(port, tls)), (error): TlsHandshake => {
    const reason = error._tag === "DialError" ? error.reason : assert.fail(error.message)
    return reason._tag === "TlsHandshake" ? reason : assert.fail(reason.message)
  })

const tlsOf = (connection: Connection.Connection) => Option.getOrThrow(connection.tls)

const peers = Layer.merge(Certificates.layer, services)

layer(peers, { excludeTestServices: true, timeout: "60 seconds" })("openssl s_server", (it) => {
  it.effect("talks TLS 1.2 and 1.3, and we know which", () =>
    Effect.gen(function*() {
      const { ca } = yield* Certificates
      for (const [flag, protocol] of [["-tls1_2", "TLSv1.2"], ["-tls1_3", "TLSv1.3"]] as const) {
        const connection = yield* connect(yield* opensslServer(flag), { ca })
        yield* converses(connection)
        assert.strictEqual(tlsOf(connection).protocol, protocol)
        assert.match(tlsOf(connection).cipher, /^TLS_/)
        assert.include(tlsOf(connection).peer?.subject, "server")
      }
    }))

  it.effect("is too old for us, at TLS 1.1 and where we want 1.3", () =>
    Effect.gen(function*() {
      const { ca } = yield* Certificates
      const outdated = yield* opensslServer("-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
      assert.strictEqual((yield* refusal(outdated, { ca })).check, "protocol")
      const older = yield* opensslServer("-tls1_2")
      assert.strictEqual((yield* refusal(older, { ca, minVersion: "TLSv1.3" })).check, "protocol")
    }))

  it.effect("is not trusted when its certificate has expired, is for another name or of another authority", () =>
    Effect.gen(function*() {
      const { ca, expired, named, otherCa } = yield* Certificates
      const port = yield* opensslServer()
      const tooLate = yield* refusal(yield* opensslServer("-cert", expired.cert, "-key", expired.key), { ca })
      assert.deepInclude(tooLate, { check: "expired", code: "CERT_HAS_EXPIRED" })
      const elsewhere = yield* opensslServer("-cert", named.cert, "-key", named.key)
      const misnamed = yield* refusal(elsewhere, { ca, servername: "localhost" })
      assert.strictEqual(misnamed.check, "name")
      assert.match(misnamed.message, /"localhost".*DNS:other.test/)
      assert.strictEqual((yield* refusal(port, { ca: otherCa })).check, "issuer")
      assert.strictEqual((yield* refusal(port, {})).check, "issuer")
      // and goes on serving those who do trust it
      yield* converses(yield* connect(port, { ca }))
    }))

  it.effect("is talked to whatever its certificate says, where we are told not to look", () =>
    Effect.gen(function*() {
      const { expired } = yield* Certificates
      const port = yield* opensslServer("-cert", expired.cert, "-key", expired.key)
      yield* converses(yield* connect(port, { insecureSkipVerify: true }))
    }))

  it.effect("is not trusted when its certificate is on the list of revoked ones", () =>
    Effect.gen(function*() {
      const { ca, crl, revoked } = yield* Certificates
      const bad = yield* opensslServer("-cert", revoked.cert, "-key", revoked.key)
      assert.deepInclude(yield* refusal(bad, { ca, crl }), { check: "revoked", code: "CERT_REVOKED" })
      yield* converses(yield* connect(bad, { ca }))
      yield* converses(yield* connect(yield* opensslServer(), { ca, crl }))
    }))

  it.effect("is known by its public key, as openssl computes its fingerprint", () =>
    Effect.gen(function*() {
      const { ca, named, server } = yield* Certificates
      const pinOf = ({ cert }: { readonly cert: string }) =>
        run({ command: "sh", package: "dash" }, [
          "-c",
          "openssl x509 -noout -pubkey -in $0 | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | openssl base64",
          cert
        ])
      const port = yield* opensslServer()
      const [own, other] = [yield* pinOf(server), yield* pinOf(named)]
      yield* converses(yield* connect(port, { ca, pin: [other, own] }))
      yield* converses(yield* connect(port, { insecureSkipVerify: true, pin: own }))
      for (const trust of [{ ca }, { insecureSkipVerify: true }]) {
        assert.strictEqual((yield* refusal(port, { ...trust, pin: other })).check, "pin")
      }
    }))

  it.effect("shows the certificate for the name we ask for", () =>
    Effect.gen(function*() {
      const { ca, named } = yield* Certificates
      const port = yield* opensslServer("-servername", "other.test", "-cert2", named.cert, "-key2", named.key)
      const asked = yield* connect(port, { ca, servername: "other.test" })
      yield* converses(asked)
      assert.include(tlsOf(asked).peer?.subject, "named")
      const unasked = yield* connect(port, { ca })
      yield* converses(unasked)
      assert.include(tlsOf(unasked).peer?.subject, "server")
    }))

  it.effect("agrees on a protocol of ours, by its own preference, or on none", () =>
    Effect.gen(function*() {
      const { ca } = yield* Certificates
      const agreed = yield* connect(yield* opensslServer("-alpn", "h2,redis"), { ca, alpn: ["redis", "h2"] })
      assert.strictEqual(tlsOf(agreed).alpn, "h2")
      const without = yield* connect(yield* opensslServer(), { ca, alpn: ["redis"] })
      assert.strictEqual(tlsOf(without).alpn, undefined)
      yield* converses(without)
    }))

  it.effect("refuses when it speaks none of our protocols", () =>
    Effect.gen(function*() {
      const { ca } = yield* Certificates
      const { check, code } = yield* refusal(yield* opensslServer("-alpn", "h2"), { ca, alpn: ["redis"] })
      assert.strictEqual(check, "protocol")
      assert.include(code, "NO_APPLICATION_PROTOCOL")
    }))

  for (const version of ["tls1_2", "tls1_3"]) {
    const demanding = opensslServer(`-${version}`, "-Verify", "1", "-verify_return_error")

    it.effect(`takes our client certificate in ${version}`, () =>
      Effect.gen(function*() {
        const { ca, client } = yield* Certificates
        yield* converses(yield* connect(yield* demanding, { ca, ...client }))
      }))

    it.effect(`refuses a client certificate of another authority, or none, in ${version}`, () =>
      Effect.gen(function*() {
        const { ca, stranger } = yield* Certificates
        const port = yield* demanding
        for (
          const [own, alert] of [[{}, /CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE/], [stranger, /UNKNOWN_CA/]] as const
        ) {
          if (version === "tls1_2") {
            const { check, code } = yield* refusal(port, { ca, ...own })
            assert.strictEqual(check, "clientCertificate")
            assert.match(code, alert)
          } else {
            // TLS 1.3: the client is done before the server has seen its certificate, so the first read fails
            const connection = yield* connect(port, { ca, ...own })
            const error = yield* Effect.flip(connection.read())
            assert.match(error.message, alert)
          }
        }
      }))
  }

  it.effect("takes our client certificate from a file that openssl has encrypted", () =>
    Effect.gen(function*() {
      const { ca, client } = yield* Certificates
      const directory = yield* folder("encrypted")
      const secret = "pass wörd"
      const openssl = (...args: ReadonlyArray<string>) =>
        run({ command: "openssl", package: "openssl" }, args, { cwd: directory })
      yield* openssl("pkcs8", "-topk8", "-in", client.key, "-out", "key.pem", "-passout", `pass:${secret}`)
      yield* openssl("ec", "-aes256", "-in", client.key, "-out", "old.pem", "-passout", `pass:${secret}`)
      const both = ["-inkey", client.key, "-in", client.cert, "-certfile", ca]
      yield* openssl("pkcs12", "-export", ...both, "-out", "both.p12", "-passout", `pass:${secret}`)
      const port = yield* opensslServer("-Verify", "1", "-verify_return_error")
      const passphrase = Redacted.make(secret)
      yield* converses(yield* connect(port, { ca, cert: client.cert, key: `${directory}/key.pem`, passphrase }))
      yield* converses(yield* connect(port, { ca, cert: client.cert, key: `${directory}/old.pem`, passphrase }))
      yield* converses(yield* connect(port, { ca, pfx: `${directory}/both.p12`, passphrase }))
    }))
})

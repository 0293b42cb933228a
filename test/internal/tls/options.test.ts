import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import { inspect } from "node:util"
import { read, trustedBy } from "../../../src/internal/tls/context.ts"
import { resolve, type TlsOptions } from "../../../src/internal/tls/options.ts"
import * as TestCertificates from "../../../src/testing/TestCertificates.ts"
import { temporaryFolder } from "../../support/servers.ts"

const credentials = Effect.gen(function*() {
  const authority = yield* TestCertificates.authority()
  return { ca: authority.certificate, ...(yield* authority.issue({ names: ["localhost"] })) }
})

const encrypted = (key: string, passphrase: string) =>
  Crypto.createPrivateKey(key).export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase }).toString()

/** What is wrong with the options: which one, and the message. */
const complaint = (options: TlsOptions) => Effect.flip(resolve(options))

/** Everything of an error that a log could show. */
const everything = (error: unknown) =>
  [String(error), inspect(error, { depth: 20, showHidden: true }), JSON.stringify(error)].join("\n")

describe("resolve", () => {
  it.effect("has defaults for everything", () =>
    Effect.gen(function*() {
      const { contexts: _, sessions, ...rest } = yield* resolve({})
      assert.isDefined(sessions)
      assert.deepStrictEqual(rest, {
        servername: undefined,
        alpn: undefined,
        pins: [],
        versions: "TLSv1.2 or TLSv1.3",
        presents: false,
        requestClientCertificate: false,
        verify: true,
        keyLog: undefined
      })
    }))
  it.effect("refuses protocol names that TLS cannot carry", () =>
    Effect.gen(function*() {
      for (const name of ["", "x".repeat(256), "ä"]) {
        assert.strictEqual((yield* complaint({ alpn: ["h2", name] })).option, "alpn")
      }
    }))
  it.live("takes PEM text, bytes and paths", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const { ca, cert, key } = yield* credentials
      Fs.writeFileSync(`${folder}/ca.pem`, ca)
      Fs.writeFileSync(`${folder}/key.pem`, key)
      const material = yield* read({
        ca: [ca, Buffer.from(ca), `${folder}/ca.pem`],
        cert: Buffer.from(cert),
        key: `${folder}/key.pem`
      })
      assert.deepStrictEqual([material.ca, material.own], [[ca, ca, ca], { cert, key }])
      const redacted = yield* read({ cert, key: Redacted.make(`${folder}/key.pem`) })
      assert.deepStrictEqual(redacted.own, { cert, key })
      assert.deepStrictEqual((yield* read({ cert, key: Redacted.make(key) })).own, { cert, key })
    }))
  it.effect("takes what a bundle says between its certificates", () =>
    Effect.gen(function*() {
      const { ca, cert } = yield* credentials
      yield* resolve({ ca: `# first - one\n${ca}\nsecond\n${cert}` })
    }))
  it.live("names the file that is missing and the option that named it", () =>
    Effect.gen(function*() {
      const { cert } = yield* credentials
      const ca = yield* complaint({ ca: "./missing-ca.pem" })
      assert.strictEqual(ca.message, "TLS option \"ca\": cannot read the file \"./missing-ca.pem\"")
      assert.strictEqual((yield* complaint({ cert: "./missing.pem" })).option, "cert")
      assert.strictEqual((yield* complaint({ cert, key: "./missing.pem" })).option, "key")
    }))
  it.live("names the option that holds no certificate or key", () =>
    Effect.gen(function*() {
      const { ca, cert, key } = yield* credentials
      assert.strictEqual((yield* complaint({ ca: key })).message, "TLS option \"ca\": no PEM certificate in it")
      assert.strictEqual((yield* complaint({ cert: key, key })).option, "cert")
      assert.strictEqual((yield* complaint({ cert, key: ca })).option, "key")
      assert.strictEqual((yield* complaint({ ca: Buffer.alloc(0) })).option, "ca")
    }))
  it.effect("refuses a certificate that cannot be understood, of an authority too", () =>
    Effect.gen(function*() {
      const { ca, cert, key } = yield* credentials
      const broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
      const error = yield* complaint({ ca: `${ca}${broken}` })
      assert.strictEqual(error.message, "TLS option \"ca\": a certificate in it cannot be understood")
      assert.strictEqual((yield* complaint({ cert: `${cert}${broken}`, key })).option, "cert")
    }))
  it.effect("wants a certificate and its key, or neither", () =>
    Effect.gen(function*() {
      const { cert, key } = yield* credentials
      const noKey = yield* complaint({ cert })
      assert.deepStrictEqual(
        [noKey.option, noKey.detail],
        ["key", "a certificate and its key go together; one is missing"]
      )
      assert.strictEqual((yield* complaint({ key })).option, "cert")
    }))
  it.effect("refuses a key that is not the certificate's", () =>
    Effect.gen(function*() {
      const { cert } = yield* credentials
      const { key } = yield* credentials
      const error = yield* complaint({ cert, key })
      assert.strictEqual(error.option, "cert")
      assert.match(error.detail, /key values mismatch/)
    }))
  it.effect("refuses to demand clients' certificates without an authority to verify them", () =>
    Effect.gen(function*() {
      const { ca, cert, key } = yield* credentials
      const error = yield* complaint({ cert, key, requestClientCertificate: true })
      assert.strictEqual(error.option, "ca")
      assert.isTrue((yield* resolve({ ca, cert, key, requestClientCertificate: true })).requestClientCertificate)
      const careless = { cert, key, requestClientCertificate: true, insecureSkipVerify: true }
      assert.isFalse((yield* resolve(careless)).verify)
    }))
  it.effect("decrypts a key with its passphrase", () =>
    Effect.gen(function*() {
      const { cert, key } = yield* credentials
      const material = yield* read({
        cert,
        key: encrypted(key, "open sesame"),
        passphrase: Redacted.make("open sesame")
      })
      assert.deepStrictEqual(material.own, { cert, key })
    }))
  it.effect("says that a passphrase is wrong or missing, and never which one it was", () =>
    Effect.gen(function*() {
      const { cert, key } = yield* credentials
      const locked = encrypted(key, "open sesame")
      for (const options of [{}, { passphrase: Redacted.make("hocus pocus") }]) {
        const error = yield* complaint({ cert, key: locked, ...options })
        assert.strictEqual(
          error.message,
          "TLS option \"key\": not a PEM private key, or the passphrase is missing or wrong"
        )
        assert.notMatch(everything(error), /pocus|sesame/)
      }
    }))
  it.live("tells nothing of a key that was mangled on its way", () =>
    Effect.gen(function*() {
      const { cert, key } = yield* credentials
      const body = key.split("\n")[1] ?? ""
      for (const mangled of [body, Buffer.from(key).toString("base64"), `-----BEGIN PRIVATE KEY-----${body}`]) {
        const error = yield* complaint({ cert, key: Redacted.make(mangled) })
        assert.strictEqual(error.option, "key")
        assert.notInclude(everything(error), mangled.slice(-20))
      }
    }))
  it.effect("adds to the authorities that Node ships when it is asked to", () =>
    Effect.gen(function*() {
      const { ca } = yield* credentials
      const count = (options: TlsOptions) =>
        Effect.map(read(options), (material) => trustedBy(options, material)?.length)
      assert.strictEqual(yield* count({ ca }), 1)
      assert.isAbove((yield* count({ ca, systemCa: true })) ?? 0, 50)
      assert.isUndefined(yield* count({ systemCa: true }))
    }))
  it.live("takes certificates and revocation lists as DER too, and a text with several lists", () =>
    Effect.gen(function*() {
      const root = yield* TestCertificates.authority()
      const [first, second] = [yield* root.revocationList([]), yield* root.revocationList([])]
      const der = Buffer.from(first.replace(/-----.*-----|\n/g, ""), "base64")
      const path = `${yield* temporaryFolder}/list.crl`
      Fs.writeFileSync(path, der)
      const bare = (pem: string) => pem.replaceAll("\n", "").trim()
      const lists = (yield* read({ crl: [der, path, `${first}\n${second}`] })).crl
      assert.deepStrictEqual(lists.map(bare), [first, first, first, second].map(bare))
      const { raw } = new Crypto.X509Certificate(root.certificate)
      assert.deepStrictEqual((yield* read({ ca: raw })).ca.map(bare), [bare(root.certificate)])
    }))
  it.live("names the option that holds no revocation list", () =>
    Effect.gen(function*() {
      const { ca } = yield* credentials
      const broken = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"
      assert.strictEqual(
        (yield* complaint({ crl: ca })).message,
        "TLS option \"crl\": no revocation list (X509 CRL) in it"
      )
      assert.strictEqual(
        (yield* complaint({ crl: broken })).message,
        "TLS option \"crl\": a revocation list in it cannot be understood"
      )
      assert.strictEqual((yield* complaint({ crl: "./missing.crl" })).option, "crl")
    }))
  it.live("opens a PKCS #12 file with its passphrase, and never tells which one was wrong", () =>
    Effect.gen(function*() {
      const { cert, key } = yield* credentials
      const pfx = yield* TestCertificates.pfx({ cert, key }, "open sesame")
      assert.isTrue((yield* resolve({ pfx, passphrase: Redacted.make("open sesame") })).presents)
      for (const options of [{}, { passphrase: Redacted.make("hocus pocus") }]) {
        const error = yield* complaint({ pfx, ...options })
        assert.strictEqual(
          error.message,
          "TLS option \"pfx\": not a PKCS #12 file with a key, or the passphrase is missing or wrong"
        )
        assert.notMatch(everything(error), /pocus|sesame/)
      }
      assert.strictEqual((yield* complaint({ pfx: Buffer.from("x") })).option, "pfx")
      assert.strictEqual((yield* complaint({ pfx: "./missing.p12" })).option, "pfx")
      assert.strictEqual((yield* complaint({ pfx, cert, key })).option, "pfx")
    }))
  it.effect("names the option that holds ciphers, versions or pins that make no sense", () =>
    Effect.gen(function*() {
      for (const ciphers of ["NO-SUCH-CIPHER", "", "TLS_NO_SUCH_CIPHER"]) {
        assert.strictEqual((yield* complaint({ ciphers })).option, "ciphers", ciphers)
      }
      assert.strictEqual((yield* complaint({ minVersion: "TLSv1.3", maxVersion: "TLSv1.2" })).option, "minVersion")
      assert.strictEqual((yield* complaint({ pin: ["0".repeat(64), "x"] })).option, "pin")
      assert.strictEqual((yield* resolve({ minVersion: "TLSv1.3" })).versions, "TLSv1.3")
    }))
})

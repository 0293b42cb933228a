/**
 * Certificate authorities and certificates for tests, made in memory, with no tool and no file.
 *
 * An authority is a self-signed certificate and its key. It issues certificates for names and addresses. Both fit the
 * TLS options of this library as they are: who verifies gets `{ ca: authority.certificate }`, who is verified gets what
 * `issue` gives.
 *
 * **Details**
 *
 * - Keys are EC P-256, signatures ECDSA with SHA-256; making one takes less than a millisecond.
 * - Certificates carry what strict clients look for: names in the subject alternative name, basic constraints, key
 *   usage, extended key usage, and the key identifiers that link them to their issuer (RFC 5280).
 * - They are valid from 2020 to 2049 unless `notBefore` and `notAfter` say otherwise. TLS compares them with the
 *   computer's clock, whatever the test's clock says.
 *
 * **Gotchas**
 *
 * The keys are throwaway keys for tests and plain text, not `Redacted`. Never trust such an authority outside a test.
 *
 * **Example** (A server with a certificate, and a client that trusts its authority)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { Dialer, Tls } from "hawser"
 * import { TestCertificates } from "hawser/testing"
 *
 * const program = Effect.gen(function*() {
 *   const authority = yield* TestCertificates.authority()
 *   const server = yield* authority.issue({ names: ["localhost", "127.0.0.1"] })
 *   const Network = Tls.layer({ ca: authority.certificate }).pipe(Layer.provide(Dialer.layer))
 *   return { serverOptions: { tls: server }, Network }
 * })
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as NetAddress from "effect/net/NetAddress"
import * as Result from "effect/Result"
import * as Crypto from "node:crypto"
import * as Der from "../internal/tls/der.ts"

/**
 * A certificate and its private key, ready to be TLS options.
 *
 * @category models
 * @since 0.1.0
 */
export interface Credentials {
  /** The certificate, PEM. */
  readonly cert: string
  /** The private key, PEM (PKCS#8, not encrypted). */
  readonly key: string
}

/**
 * How long a certificate is valid. To get an expired one, or one that is not valid yet, put the dates there.
 *
 * @category models
 * @since 0.1.0
 */
export interface Validity {
  /** The first moment of its validity. Default 2020-01-01. */
  readonly notBefore?: Date | undefined
  /** The last moment of its validity. Default 2049-12-31. */
  readonly notAfter?: Date | undefined
}

/**
 * What an authority is asked to certify.
 *
 * @category models
 * @since 0.1.0
 */
export interface IssueOptions extends Validity {
  /** Names (`"db.test"`, `"*.test"`) and IP addresses (`"127.0.0.1"`, `"::1"`) it is for. */
  readonly names: ReadonlyArray<string>
  /** The common name of the subject. Default: the first of `names`, or `"test"`. */
  readonly commonName?: string | undefined
  /** A client's certificate, for mutual TLS; servers' are refused as such, and the other way round. Default false. */
  readonly client?: boolean | undefined
}

/**
 * A certificate authority: `certificate` is what a peer has to trust (PEM), `issue` signs certificates.
 *
 * @category models
 * @since 0.1.0
 */
export interface Authority {
  /** The authority's own certificate, PEM. */
  readonly certificate: string
  /** Makes a key and a certificate for it, signed by this authority. */
  readonly issue: (options: IssueOptions) => Effect.Effect<Credentials>
}

/** Whose certificate it is: its common name and its public key. */
interface Subject {
  readonly commonName: string
  readonly spki: Buffer
}

const keyPair = () => {
  const { privateKey, publicKey } = Crypto.generateKeyPairSync("ec", { namedCurve: "P-256" })
  return { privateKey, spki: publicKey.export({ type: "spki", format: "der" }) }
}

const ecdsaWithSha256 = Der.sequence(Der.oid("1.2.840.10045.4.3.2"))

const distinguishedName = (commonName: string) =>
  Der.sequence(Der.set(Der.sequence(Der.oid("2.5.4.3"), Der.utf8(commonName))))

/** RFC 5280, section 4.2.1.2, method 1: SHA-1 of the public key itself, for P-256 the last 65 bytes of the SPKI. */
const keyIdentifier = (spki: Buffer) => Crypto.createHash("sha1").update(spki.subarray(-65)).digest()

const extension = (id: string, content: Buffer, critical = false) =>
  Der.sequence(Der.oid(id), ...(critical ? [Der.boolean(true)] : []), Der.octetString(content))

const basicConstraints = (authority: boolean) =>
  extension("2.5.29.19", Der.sequence(...(authority ? [Der.boolean(true)] : [])), true)

/** For an authority keyCertSign and cRLSign, otherwise digitalSignature: the bits 5, 6 and 0, counted from the top. */
const keyUsage = (authority: boolean) =>
  extension("2.5.29.15", authority ? Der.bitString(Buffer.of(0x06), 1) : Der.bitString(Buffer.of(0x80), 7), true)

const extendedKeyUsage = (client: boolean) =>
  extension("2.5.29.37", Der.sequence(Der.oid(client ? "1.3.6.1.5.5.7.3.2" : "1.3.6.1.5.5.7.3.1")))

const subjectAltName = (names: ReadonlyArray<string>) =>
  extension(
    "2.5.29.17",
    Der.sequence(...names.map((name) => {
      const ip = NetAddress.ipFromString(name)
      if (Result.isFailure(ip)) return Der.implicit(2, Buffer.from(name, "latin1"))
      const octets = NetAddress.isIpv4Address(ip.success)
        ? NetAddress.ipv4ToOctets(ip.success)
        : NetAddress.ipv6ToOctets(ip.success)
      return Der.implicit(7, Buffer.from(octets))
    }))
  )

const identifiers = (subject: Subject, issuer: Subject) => [
  extension("2.5.29.14", Der.octetString(keyIdentifier(subject.spki))),
  extension("2.5.29.35", Der.sequence(Der.implicit(0, keyIdentifier(issuer.spki))))
]

const pem = (der: Buffer) =>
  `-----BEGIN CERTIFICATE-----\n${der.toString("base64").replace(/.{1,64}/g, "$&\n")}-----END CERTIFICATE-----\n`

const certify = (
  subject: Subject,
  issuer: Subject,
  signingKey: Crypto.KeyObject,
  validity: Validity,
  extensions: ReadonlyArray<Buffer>
): string => {
  const toBeSigned = Der.sequence(
    Der.explicit(0, Der.unsigned(Buffer.of(2))),
    Der.unsigned(Crypto.randomBytes(16)),
    ecdsaWithSha256,
    distinguishedName(issuer.commonName),
    Der.sequence(
      Der.time(validity.notBefore ?? new Date("2020-01-01T00:00:00Z")),
      Der.time(validity.notAfter ?? new Date("2049-12-31T23:59:59Z"))
    ),
    distinguishedName(subject.commonName),
    subject.spki,
    Der.explicit(3, Der.sequence(...extensions, ...identifiers(subject, issuer)))
  )
  const signature = Crypto.sign("sha256", toBeSigned, signingKey)
  return pem(Der.sequence(toBeSigned, ecdsaWithSha256, Der.bitString(signature)))
}

/**
 * Makes a certificate authority. `name` is its common name, by default `"Test authority"`; two authorities of one name
 * are still two: their keys differ.
 *
 * @category constructors
 * @since 0.1.0
 */
export const authority = (
  options?: Validity & { readonly name?: string | undefined }
): Effect.Effect<Authority> =>
  Effect.sync(() => {
    const { privateKey, spki } = keyPair()
    const issuer: Subject = { commonName: options?.name ?? "Test authority", spki }
    return {
      certificate: certify(issuer, issuer, privateKey, options ?? {}, [basicConstraints(true), keyUsage(true)]),
      issue: (options) =>
        Effect.sync(() => {
          const own = keyPair()
          const subject: Subject = { commonName: options.commonName ?? options.names[0] ?? "test", spki: own.spki }
          return {
            cert: certify(subject, issuer, privateKey, options, [
              basicConstraints(false),
              keyUsage(false),
              extendedKeyUsage(options.client ?? false),
              ...(options.names.length === 0 ? [] : [subjectAltName(options.names)])
            ]),
            key: own.privateKey.export({ type: "pkcs8", format: "pem" }).toString()
          }
        })
    }
  })

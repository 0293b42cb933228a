/**
 * Certificate authorities and certificates for tests, made in memory, with no tool and no file.
 *
 * An authority is a self-signed certificate and its key. It issues certificates for names and addresses. Both fit the
 * TLS options of this library as they are: who verifies gets `{ ca: authority.certificate }`, who is verified gets what
 * `issue` gives.
 *
 * **Details**
 *
 * - Keys are EC P-256, signatures ECDSA with SHA-256; making one takes less than a millisecond. RSA keys of 2048 bits
 *   are there for who needs them, and take some tenths of a second.
 * - Certificates carry what strict clients look for: names in the subject alternative name, basic constraints, key
 *   usage, extended key usage, and the key identifiers that link them to their issuer (RFC 5280).
 * - They are valid from 2020 to 2049 unless `notBefore` and `notAfter` say otherwise (`...TestCertificates.expired`,
 *   `...TestCertificates.notYetValid`). TLS compares them with the computer's clock, whatever the test's clock says.
 * - An authority makes intermediate authorities and revocation lists; `pfx` packs credentials as PKCS #12.
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
import * as Pkcs12 from "../internal/tls/pkcs12.ts"

/**
 * A certificate and its private key, ready to be TLS options.
 *
 * @category models
 * @since 0.1.0
 */
export interface Credentials {
  /** The certificate, PEM, followed by those of the intermediate authorities that issued it. */
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
 * The dates of a certificate that has expired: spread it into the options.
 *
 * @category models
 * @since 0.1.0
 */
export const expired: Validity = { notAfter: new Date("2021-01-01T00:00:00Z") }

/**
 * The dates of a certificate that is not valid yet: spread it into the options.
 *
 * @category models
 * @since 0.1.0
 */
export const notYetValid: Validity = { notBefore: new Date("2049-01-01T00:00:00Z") }

/**
 * The kind of a key: EC P-256 or RSA with 2048 bits.
 *
 * @category models
 * @since 0.1.0
 */
export type KeyType = "ec" | "rsa"

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
  /** The kind of its key. Default `"ec"`. */
  readonly keyType?: KeyType | undefined
}

/**
 * How to make an authority.
 *
 * @category models
 * @since 0.1.0
 */
export interface AuthorityOptions extends Validity {
  /** Its common name. Default `"Test authority"`, for an intermediate one `"Intermediate authority"`. */
  readonly name?: string | undefined
  /** The kind of its key. Default `"ec"`. */
  readonly keyType?: KeyType | undefined
}

/**
 * When a revocation list is current.
 *
 * @category models
 * @since 0.1.0
 */
export interface RevocationListOptions {
  /** When it was made. Default 2020-01-01. */
  readonly thisUpdate?: Date | undefined
  /** When the next one is due; from then on it is out of date. Default 2049-12-31. */
  readonly nextUpdate?: Date | undefined
}

/**
 * A certificate authority.
 *
 * @category models
 * @since 0.1.0
 */
export interface Authority {
  /** The authority's own certificate, PEM: what a peer has to trust. */
  readonly certificate: string
  /** Makes a key and a certificate for it, signed by this authority. */
  readonly issue: (options: IssueOptions) => Effect.Effect<Credentials>
  /** Makes an authority below this one: what it issues comes with its own certificate, and peers trust the upper one. */
  readonly intermediate: (options?: AuthorityOptions) => Effect.Effect<Authority>
  /** Signs a list of certificates, of those issued by this authority, that are not to be accepted any more. PEM. */
  readonly revocationList: (
    revoked: ReadonlyArray<Credentials>,
    options?: RevocationListOptions
  ) => Effect.Effect<string>
}

/** Whose certificate it is: its common name and its public key. */
interface Subject {
  readonly commonName: string
  readonly spki: Buffer
}

/** A subject with its private key. */
interface Holder extends Subject {
  readonly privateKey: Crypto.KeyObject
}

const holder = (commonName: string, keyType: KeyType = "ec"): Holder => {
  const { privateKey, publicKey } = keyType === "ec"
    ? Crypto.generateKeyPairSync("ec", { namedCurve: "P-256" })
    : Crypto.generateKeyPairSync("rsa", { modulusLength: 2048 })
  return { commonName, privateKey, spki: publicKey.export({ type: "spki", format: "der" }) }
}

/** The signature algorithm that goes with a key, with SHA-256: ECDSA, or RSA (PKCS #1 v1.5). */
const algorithmOf = ({ privateKey }: Holder) =>
  privateKey.asymmetricKeyType === "ec"
    ? Der.sequence(Der.oid("1.2.840.10045.4.3.2"))
    : Der.sequence(Der.oid("1.2.840.113549.1.1.11"), Der.nothing)

/** A signed structure: what is signed, how, and the signature. `label` is its kind in PEM. */
const signed = (label: string, issuer: Holder, fields: (algorithm: Buffer) => Buffer): string => {
  const algorithm = algorithmOf(issuer)
  const toBeSigned = fields(algorithm)
  const der = Der.sequence(
    toBeSigned,
    algorithm,
    Der.bitString(Crypto.sign("sha256", toBeSigned, issuer.privateKey))
  )
  return `-----BEGIN ${label}-----\n${der.toString("base64").replace(/.{1,64}/g, "$&\n")}-----END ${label}-----\n`
}

const start = new Date("2020-01-01T00:00:00Z")
const end = new Date("2049-12-31T23:59:59Z")

const distinguishedName = (commonName: string) =>
  Der.sequence(Der.set(Der.sequence(Der.oid("2.5.4.3"), Der.utf8(commonName))))

/** Names a key (RFC 5280, section 4.2.1.2): any value that comes from the key alone will do. */
const keyIdentifier = (spki: Buffer) => Crypto.createHash("sha1").update(spki).digest()

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

const subjectKeyIdentifier = ({ spki }: Subject) => extension("2.5.29.14", Der.octetString(keyIdentifier(spki)))

const authorityKeyIdentifier = ({ spki }: Subject) =>
  extension("2.5.29.35", Der.sequence(Der.implicit(0, keyIdentifier(spki))))

const certify = (
  subject: Subject,
  issuer: Holder,
  validity: Validity,
  extensions: ReadonlyArray<Buffer>
): string =>
  signed("CERTIFICATE", issuer, (algorithm) =>
    Der.sequence(
      Der.explicit(0, Der.unsigned(Buffer.of(2))),
      Der.unsigned(Crypto.randomBytes(16)),
      algorithm,
      distinguishedName(issuer.commonName),
      Der.sequence(Der.time(validity.notBefore ?? start), Der.time(validity.notAfter ?? end)),
      distinguishedName(subject.commonName),
      subject.spki,
      Der.explicit(
        3,
        Der.sequence(...extensions, subjectKeyIdentifier(subject), authorityKeyIdentifier(issuer))
      )
    ))

const ofAuthority = [basicConstraints(true), keyUsage(true)]

const ofPeer = (options: IssueOptions) => [
  basicConstraints(false),
  keyUsage(false),
  extendedKeyUsage(options.client ?? false),
  ...(options.names.length === 0 ? [] : [subjectAltName(options.names)])
]

const serialNumber = ({ cert }: Credentials) => Buffer.from(new Crypto.X509Certificate(cert).serialNumber, "hex")

/** RFC 5280, section 5.1: version 2, with the number that such a list has to have. */
const revocationList = (issuer: Holder, revoked: ReadonlyArray<Credentials>, options: RevocationListOptions): string =>
  signed("X509 CRL", issuer, (algorithm) =>
    Der.sequence(
      Der.unsigned(Buffer.of(1)),
      algorithm,
      distinguishedName(issuer.commonName),
      Der.time(options.thisUpdate ?? start),
      Der.time(options.nextUpdate ?? end),
      // a list of nothing is not there at all
      ...(revoked.length === 0 ? [] : [
        Der.sequence(
          ...revoked.map((credentials) =>
            Der.sequence(Der.unsigned(serialNumber(credentials)), Der.time(options.thisUpdate ?? start))
          )
        )
      ]),
      Der.explicit(
        0,
        Der.sequence(authorityKeyIdentifier(issuer), extension("2.5.29.20", Der.unsigned(Buffer.of(1))))
      )
    ))

const pkcs8 = ({ privateKey }: Holder) => privateKey.export({ type: "pkcs8", format: "pem" }).toString()

/** `chain` is what goes with everything it issues: its own certificate and those above it, but the root's. */
const makeAuthority = (issuer: Holder, certificate: string, chain: string): Authority => ({
  certificate,
  issue: (options) =>
    Effect.sync(() => {
      const own = holder(options.commonName ?? options.names[0] ?? "test", options.keyType)
      return { cert: certify(own, issuer, options, ofPeer(options)) + chain, key: pkcs8(own) }
    }),
  intermediate: (options = {}) =>
    Effect.sync(() => {
      const own = holder(options.name ?? "Intermediate authority", options.keyType)
      const certificate = certify(own, issuer, options, ofAuthority)
      return makeAuthority(own, certificate, certificate + chain)
    }),
  revocationList: (revoked, options = {}) => Effect.sync(() => revocationList(issuer, revoked, options))
})

/**
 * Makes a certificate authority. Two authorities of one name are still two: their keys differ.
 *
 * @category constructors
 * @since 0.1.0
 */
export const authority = (options: AuthorityOptions = {}): Effect.Effect<Authority> =>
  Effect.sync(() => {
    const issuer = holder(options.name ?? "Test authority", options.keyType)
    return makeAuthority(issuer, certify(issuer, issuer, options, ofAuthority), "")
  })

/**
 * Makes a certificate that no authority issued: it vouches for itself. Who trusts it as a `ca` accepts it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const selfSigned = (options: IssueOptions): Effect.Effect<Credentials> =>
  Effect.sync(() => {
    const own = holder(options.commonName ?? options.names[0] ?? "test", options.keyType)
    return { cert: certify(own, own, options, ofPeer(options)), key: pkcs8(own) }
  })

const pemCertificate = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g

/**
 * Packs credentials as a PKCS #12 file (`.p12`, `.pfx`) with a passphrase: certificate, chain and key.
 *
 * @category conversions
 * @since 0.1.0
 */
export const pfx = ({ cert, key }: Credentials, passphrase: string): Effect.Effect<Uint8Array> =>
  Effect.sync(() =>
    Pkcs12.write(
      (cert.match(pemCertificate) ?? []).map((text) => new Crypto.X509Certificate(text).raw),
      Crypto.createPrivateKey(key),
      passphrase
    )
  )

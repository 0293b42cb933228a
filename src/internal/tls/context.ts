import * as Effect from "effect/Effect"
import { constants } from "node:crypto"
import * as NodeTls from "node:tls"
import type { TlsConfigError } from "../../errors/TlsConfigError.ts"
import * as Source from "./source.ts"
import type { TlsOptions } from "./tlsOptions.ts"

/** All that the files of the options hold: when it is the same as before, there is nothing to reload. */
export interface Material {
  readonly ca: ReadonlyArray<string>
  readonly crl: ReadonlyArray<string>
  readonly own: Source.Credentials | undefined
  readonly sni: ReadonlyMap<string, Source.Credentials>
}

/** What connections are made with: the certificate for everybody, and those for clients that ask for a name. */
export interface Contexts {
  readonly general: NodeTls.SecureContext
  readonly named: ReadonlyMap<string, NodeTls.SecureContext>
}

const hostName = /^(\*\.)?([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?$/

/** Reads what the options name. */
export const read = Effect.fnUntraced(function*(options: TlsOptions) {
  const ca = yield* Effect.forEach(Source.many(options.ca), (source) => Source.certificates("ca", source))
  const crl = yield* Effect.forEach(Source.many(options.crl), (source) => Source.revocationLists("crl", source))
  const own = yield* Source.credentials(options)
  const sni = new Map<string, Source.Credentials>()
  for (const [given, credentials] of Object.entries(options.sni ?? {})) {
    const option = `sni["${given}"]`
    const name = given.toLowerCase()
    if (!hostName.test(name)) {
      return yield* Source.fail(option, "not a host name, nor one with \"*\" for its whole first label")
    }
    const found = yield* Source.credentials(credentials, `${option}.`)
    if (found === undefined) return yield* Source.fail(option, "a name needs a certificate and its key")
    sni.set(name, found)
  }
  const material: Material = { ca, crl: crl.flat(), own, sni }
  return material
})

/** Whose fault it is that OpenSSL does not take the options. */
const blame = (cause: unknown, credentials: string): TlsConfigError => {
  const message = cause instanceof Error ? cause.message : "it cannot be used"
  return Source.fail(/cipher/i.test(message) ? "ciphers" : credentials, message, cause)
}

/** Whom to trust, when it is not just those that Node ships. */
export const trustedBy = ({ systemCa }: TlsOptions, { ca }: Material): ReadonlyArray<string> | undefined =>
  ca.length === 0 ? undefined : systemCa === true ? [...ca, ...NodeTls.rootCertificates] : ca

/** Makes OpenSSL contexts of what was read. */
export const build = Effect.fnUntraced(function*(options: TlsOptions, material: Material) {
  const { crl } = material
  const trusted = trustedBy(options, material)
  const context = (credentials: Source.Credentials | undefined, option: string) =>
    Effect.try({
      try: () =>
        NodeTls.createSecureContext({
          ...credentials,
          ...(trusted === undefined ? {} : { ca: [...trusted] }),
          ...(crl.length === 0 ? {} : { crl: [...crl] }),
          ...(options.ciphers === undefined ? {} : { ciphers: options.ciphers }),
          minVersion: options.minVersion ?? "TLSv1.2",
          ...(options.maxVersion === undefined ? {} : { maxVersion: options.maxVersion }),
          // without one, OpenSSL breaks off when a client with a certificate resumes its session
          sessionIdContext: "hawser",
          ...(options.resumption === false ? { secureOptions: constants.SSL_OP_NO_TICKET } : {})
        }),
      catch: (cause) => blame(cause, option)
    })
  const contexts: Contexts = {
    general: yield* context(material.own, "cert"),
    named: new Map(
      yield* Effect.forEach(
        material.sni,
        ([name, credentials]) =>
          Effect.map(context(credentials, `sni["${name}"].cert`), (made) => [name, made] as const)
      )
    )
  }
  return contexts
})

/** The certificate for a name: its own, that of the wildcard above it, or the general one. */
export const select = ({ general, named }: Contexts, servername: string): NodeTls.SecureContext => {
  const name = servername.toLowerCase()
  return named.get(name) ?? named.get(name.replace(/^[^.]+/, "*")) ?? general
}

import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as MutableRef from "effect/MutableRef"
import * as NodeTls from "node:tls"
import { isDeepStrictEqual } from "node:util"
import type { TlsConfigError } from "../../errors/TlsConfigError.ts"
import * as Context from "./context.ts"
import * as KeyLog from "./keyLog.ts"
import * as Pin from "./pin.ts"
import { Sessions } from "./sessions.ts"
import * as Source from "./source.ts"
import type { TlsOptions } from "./tlsOptions.ts"

export type { CredentialOptions, PemSource } from "./source.ts"
export type { TlsOptions } from "./tlsOptions.ts"

/** Options after files have been read and the key has been tried. */
export interface ResolvedTls {
  /** What new connections are made with; replaced when certificates are reloaded. */
  readonly contexts: MutableRef.MutableRef<Context.Contexts>
  readonly servername: string | undefined
  readonly alpn: ReadonlyArray<string> | undefined
  readonly pins: ReadonlyArray<string>
  /** The versions spoken, for messages. */
  readonly versions: string
  /** Whether there is a certificate of our own to show. */
  readonly presents: boolean
  readonly requestClientCertificate: boolean
  readonly verify: boolean
  /** A client's sessions that can be taken up again. */
  readonly sessions: Sessions | undefined
  readonly keyLog: KeyLog.KeyLog | undefined
}

/** What is wrong with the options themselves, whatever the files hold. */
const wrong = (options: TlsOptions): TlsConfigError | undefined => {
  if (options.alpn?.some((name) => !/^[\x20-\x7e]{1,255}$/.test(name)) === true) {
    return Source.fail("alpn", "a protocol's name has 1 to 255 printable ASCII characters (RFC 7301)")
  }
  if (options.minVersion === "TLSv1.3" && options.maxVersion === "TLSv1.2") {
    return Source.fail("minVersion", "it is above maxVersion")
  }
  // Node takes an empty text for the default, and OpenSSL refuses unknown ciphers of earlier versions only
  const unknown = options.ciphers?.split(":").find((name) =>
    name === "" || name.startsWith("TLS_") && !NodeTls.getCiphers().includes(name.toLowerCase())
  )
  if (unknown !== undefined) return Source.fail("ciphers", `OpenSSL knows no cipher suite "${unknown}"`)
  if (options.reload !== undefined && !Duration.isPositive(Duration.fromInputUnsafe(options.reload))) {
    return Source.fail("reload", "the time between two reads has to be more than nothing")
  }
  if (options.requestClientCertificate === true && options.ca === undefined && options.insecureSkipVerify !== true) {
    return Source.fail("ca", "clients' certificates are verified against it, so it must be given")
  }
  return undefined
}

const versions = ({ maxVersion = "TLSv1.3", minVersion = "TLSv1.2" }: TlsOptions) =>
  minVersion === maxVersion ? minVersion : `${minVersion} or ${maxVersion}`

const prepare = Effect.fnUntraced(function*(options: TlsOptions) {
  const problem = wrong(options)
  if (problem !== undefined) return yield* problem
  const pins = yield* Effect.forEach(Source.many(options.pin), Pin.parse)
  const material = yield* Context.read(options)
  const resolved: ResolvedTls = {
    contexts: MutableRef.make(yield* Context.build(options, material)),
    servername: options.servername,
    alpn: options.alpn,
    pins,
    versions: versions(options),
    presents: material.own !== undefined,
    requestClientCertificate: options.requestClientCertificate ?? false,
    verify: options.insecureSkipVerify !== true,
    sessions: options.resumption === false ? undefined : new Sessions(),
    keyLog: options.keyLog === undefined ? undefined : yield* KeyLog.open(options.keyLog)
  }
  return { resolved, material }
})

/** Reads what the options name and checks that it fits together. */
export const resolve = (options: TlsOptions) => Effect.map(prepare(options), ({ resolved }) => resolved)

/** The same for a server, which needs a certificate, and which reads it anew for as long as the scope lives. */
export const resolveServer = Effect.fnUntraced(function*(options: TlsOptions) {
  const { material, resolved } = yield* prepare(options)
  if (material.own === undefined) return yield* Source.fail("cert", "a server needs a certificate and its key")
  if (resolved.pins.length > 0 && !resolved.requestClientCertificate) {
    return yield* Source.fail("pin", "it is for clients' certificates here, and requestClientCertificate is not set")
  }
  if (options.reload !== undefined) {
    let inUse = material
    const reload = Effect.gen(function*() {
      const read = yield* Context.read(options)
      if (isDeepStrictEqual(read, inUse)) return
      MutableRef.set(resolved.contexts, yield* Context.build(options, read))
      inUse = read
      yield* Effect.logInfo("TLS certificates were reloaded")
    }).pipe(
      Effect.catch((error) =>
        Effect.logWarning(`TLS certificates could not be reloaded, the old ones stay in use: ${error.message}`)
      )
    )
    yield* Effect.forkScoped(Effect.forever(Effect.delay(reload, options.reload)))
  }
  return resolved
})

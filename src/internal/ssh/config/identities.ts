import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { KeyUnreadable, type SshErrorReason } from "../../../errors/SshError.ts"
import * as Certificate from "../auth/certificate.ts"
import * as PrivateKey from "../auth/privateKey.ts"
import * as PublicKey from "../hostKeys/publicKey.ts"
import * as UserFiles from "../userFiles.ts"

/** A file that `IdentityFile` names. */
export interface Identity {
  readonly path: string
  /** Its public key in SSH's own format, where it can be seen without a passphrase. */
  readonly publicKey: Uint8Array | undefined
  /** Whether it has to be decrypted, or why this process cannot sign with it. */
  readonly encrypted: Result.Result<boolean, SshErrorReason>
  /** The file of its certificate. */
  readonly certificate: string | undefined
}

const publicKeyIn = (text: string): Uint8Array | undefined => PublicKey.fromText(text.trimStart())?.bytes

/** A private key, or a public key whose private part an agent has; none where there is no file. */
const load = Effect.fnUntraced(function*(
  path: string
): Effect.fn.Return<Omit<Identity, "certificate"> | undefined> {
  const file = yield* Effect.option(UserFiles.read(path))
  const beside = yield* Effect.option(UserFiles.read(`${path}.pub`))
  const named = Option.isNone(beside) ? undefined : publicKeyIn(beside.value.toString())
  if (Option.isNone(file)) {
    if (named === undefined) return undefined
    const missing = new KeyUnreadable({ detail: `there is only the public part of "${path}"` })
    return { path, publicKey: named, encrypted: Result.fail(missing) }
  }
  const stored = yield* Effect.result(PrivateKey.recognise({ name: path, path, bytes: file.value }))
  return {
    path,
    publicKey: Result.getOrUndefined(stored)?.bytes ?? named ?? publicKeyIn(file.value.toString()),
    encrypted: Result.map(stored, ({ encrypted }) => encrypted)
  }
})

/** The certificates that are there. */
const loadCertificate = (path: string) =>
  Effect.map(Effect.option(UserFiles.read(path)), (bytes) => {
    const certificate = Option.isNone(bytes) ? undefined : Certificate.parse(bytes.value.toString())
    return certificate === undefined ? [] : [{ path, certificate }]
  })

/**
 * The keys among some files, each with its certificate, if it is among others. Files that are not there are passed over, and
 * so are certificates that are of no use now.
 */
export const find = Effect.fnUntraced(function*(
  paths: ReadonlyArray<string>,
  certificatePaths: ReadonlyArray<string>
) {
  const certificates = (yield* Effect.forEach(certificatePaths, loadCertificate)).flat()
  const keys = yield* Effect.forEach(paths, load)
  const now = yield* Clock.currentTimeMillis
  return keys.flatMap((key): ReadonlyArray<Identity> => {
    if (key === undefined) return []
    const { publicKey } = key
    const certificate = publicKey === undefined
      ? undefined
      : certificates.find(({ certificate }) => Certificate.problemOf(certificate, publicKey, now) === undefined)?.path
    return [{ ...key, certificate }]
  })
})

import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { KeyUnreadable, type SshErrorReason } from "../../../errors/SshError.ts"
import * as UserFiles from "../userFiles.ts"
import * as Certificate from "./certificate.ts"
import type { NoAnswer, PrivateKeyCredential } from "./credential.ts"
import { reveal } from "./methods.ts"
import * as PrivateKey from "./privateKey.ts"
import type { PrivateKey as Key } from "./signature.ts"

/** A key, or a certificate of one, that this process can sign with. */
export interface LocalKey {
  /** The key or the certificate in SSH's own format. */
  readonly bytes: Buffer
  /** The key itself in SSH's own format. */
  readonly plain: Buffer
  readonly name: string
  /** Whether somebody has to be asked for its passphrase yet. */
  readonly locked: boolean
  readonly unlocked: Effect.Effect<Key, NoAnswer | KeyUnreadable>
}

/**
 * Keys that cost something to read again, by what describes them: that has the key itself, or the passphrase of its file. A
 * key whose file has changed since is read again, and one that lies in a file as it is, is not kept.
 */
const parsed = new WeakMap<PrivateKeyCredential, { readonly bytes: Buffer; readonly key: Key }>()

const unlockOnce = Effect.fnUntraced(function*(
  credential: PrivateKeyCredential,
  stored: PrivateKey.Stored,
  passphrase: Redacted.Redacted | undefined
) {
  const known = parsed.get(credential)
  if (known !== undefined && known.bytes.equals(stored.source.bytes)) return known.key
  const key = yield* PrivateKey.unlock(stored, passphrase)
  if (stored.encrypted || stored.source.path === undefined) parsed.set(credential, { bytes: stored.source.bytes, key })
  return key
})

type Unlocking = Pick<LocalKey, "locked" | "plain" | "unlocked">

/**
 * Decrypts a key now, or has it decrypted when it is needed: where the passphrase is to be asked for and the format tells
 * the server's question, whether the key would do, without it.
 */
const unlocking = Effect.fnUntraced(function*(credential: PrivateKeyCredential, stored: PrivateKey.Stored) {
  const { passphrase } = credential
  const now = (key: Key): Unlocking => ({ plain: key.bytes, locked: false, unlocked: Effect.succeed(key) })
  if (passphrase === undefined || Redacted.isRedacted(passphrase) || !stored.encrypted) {
    return now(yield* unlockOnce(credential, stored, Redacted.isRedacted(passphrase) ? passphrase : undefined))
  }
  const asked = Effect.flatMap(reveal(passphrase), (passphrase) => PrivateKey.unlock(stored, passphrase))
  if (stored.bytes !== undefined) {
    const later: Unlocking = { plain: stored.bytes, locked: true, unlocked: yield* Effect.cached(asked) }
    return later
  }
  return now(
    yield* Effect.catchTag(asked, "NoAnswer", ({ why }) => PrivateKey.unreadable(stored.source, `is encrypted: ${why}`))
  )
})

interface Found {
  readonly name: string
  readonly text: string
}

/** The certificate that lies beside a key's file, as `ssh` looks for it. */
const beside = Effect.fnUntraced(function*({ name, path }: PrivateKey.Source): Effect.fn.Return<Found | undefined> {
  if (path === undefined) return undefined
  const bytes = yield* Effect.option(UserFiles.read(`${path}-cert.pub`))
  return Option.isNone(bytes) ? undefined : { name: `${name}-cert.pub`, text: bytes.value.toString() }
})

/** A key as it was described, its certificate first where it has one. */
export const localKeys = Effect.fnUntraced(function*(
  credential: PrivateKeyCredential
): Effect.fn.Return<ReadonlyArray<LocalKey>, SshErrorReason> {
  const source = yield* PrivateKey.load(credential.key)
  const stored = yield* PrivateKey.recognise(source)
  const unlocked = yield* unlocking(credential, stored)
  const { plain } = unlocked
  const key: LocalKey = { ...unlocked, bytes: plain, name: source.name }

  const given = credential.certificate === undefined ? undefined : yield* PrivateKey.load(credential.certificate)
  const found = given === undefined ? yield* beside(source) : { name: given.name, text: given.bytes.toString() }
  if (found === undefined) return [key]
  const certificate = Certificate.parse(found.text)
  const problem = certificate === undefined
    ? "is no certificate"
    : Certificate.problemOf(certificate, plain, yield* Clock.currentTimeMillis)
  if (certificate !== undefined && problem === undefined) {
    const { bytes, id } = certificate
    return [{ ...unlocked, bytes, name: `${source.name}, certificate ${JSON.stringify(id)}` }, key]
  }
  // one that was not asked for is passed over, as ssh does, but not without a word
  return given === undefined
    ? [{ ...key, name: `${key.name}; ${found.name} is not used: it ${problem}` }]
    : yield* new KeyUnreadable({ detail: `the certificate of ${PrivateKey.quoted(source.name)} ${problem}` })
})

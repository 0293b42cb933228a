import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { AnyAuthMethod, ParsedKey } from "ssh2"
import { AuthenticationFailed, KeyUnreadable } from "../../../errors/SshError.ts"
import Ssh2 from "../ssh2.ts"
import * as UserFiles from "../userFiles.ts"
import type { Credential } from "./credential.ts"

/** One way to log in, ready to be tried. */
export interface Attempt {
  /** The method's name in the protocol (RFC 4252). */
  readonly method: "none" | "password" | "publickey"
  readonly start: (username: string) => AnyAuthMethod
}

const unreadable = (detail: string) => new KeyUnreadable({ detail })

const isKeyText = (key: string) => key.includes("-----BEGIN") || key.startsWith("PuTTY-User-Key-File")

const loadKey = (
  key: string | Uint8Array
): Effect.Effect<{ readonly name: string; readonly bytes: Buffer }, KeyUnreadable> => {
  if (typeof key !== "string") return Effect.succeed({ name: "the given bytes", bytes: Buffer.from(key) })
  if (isKeyText(key)) return Effect.succeed({ name: "the given text", bytes: Buffer.from(key) })
  return UserFiles.read(key).pipe(
    Effect.map((bytes) => ({ name: `"${key}"`, bytes })),
    Effect.mapError((cause) => unreadable(`cannot read the file "${key}" (${cause.code})`))
  )
}

/** ssh2 passes over a key it cannot use without a word, so keys are understood before anything is dialled. */
const parseKey = Effect.fnUntraced(function*(credential: Credential & { readonly _tag: "PrivateKey" }) {
  const { bytes, name } = yield* loadKey(
    Redacted.isRedacted(credential.key) ? Redacted.value(credential.key) : credential.key
  )
  const parsed: ParsedKey | Error | Array<ParsedKey> = Ssh2.utils.parseKey(
    bytes,
    credential.passphrase === undefined ? undefined : Redacted.value(credential.passphrase)
  )
  const key = Array.isArray(parsed) ? parsed[0]! : parsed
  if (key instanceof Error) return yield* unreadable(`${name}: ${key.message}`)
  if (!key.isPrivateKey()) return yield* unreadable(`${name} is a public key`)
  return key
})

/** Gets a way to log in ready: reads and decrypts keys. */
export const prepare = (credential: Credential): Effect.Effect<Attempt, KeyUnreadable> => {
  switch (credential._tag) {
    case "None":
      return Effect.succeed({ method: "none", start: (username) => ({ type: "none", username }) })
    case "Password":
      return Effect.succeed({
        method: "password",
        start: (username) => ({ type: "password", username, password: Redacted.value(credential.password) })
      })
    default:
      return Effect.map(parseKey(credential), (key) => ({
        method: "publickey",
        start: (username) => ({ type: "publickey", username, key })
      }))
  }
}

/**
 * Chooses what to try next. An attempt whose method the server does not want now is kept for later: a server may ask for
 * several methods in an order of its own (RFC 4252, section 5.1), and after each success all that failed before count
 * again.
 */
export class Authentication {
  private waiting: ReadonlyArray<Attempt>
  private failed: Array<Attempt> = []
  private current: Attempt | undefined
  private readonly tried: Array<string> = []
  private remaining: ReadonlyArray<string> = []

  constructor(attempts: ReadonlyArray<Attempt>) {
    this.waiting = attempts
  }

  /** The first call has neither a list nor a result. Gives `undefined` when there is nothing left to try. */
  next(remaining: ReadonlyArray<string> | null, partialSuccess: boolean | null): Attempt | undefined {
    if (remaining !== null) this.remaining = remaining
    if (partialSuccess === true) {
      this.waiting = [...this.failed.splice(0), ...this.waiting]
    } else if (this.current !== undefined) {
      this.failed.push(this.current)
    }
    const next = this.waiting.find(({ method }) => remaining === null || remaining.includes(method))
    this.waiting = this.waiting.filter((attempt) => attempt !== next)
    this.current = next
    if (next !== undefined) this.tried.push(next.method)
    return next
  }

  failure(note?: string): AuthenticationFailed {
    return new AuthenticationFailed({
      tried: note === undefined ? this.tried : [...this.tried.slice(0, -1), `${this.tried.at(-1)} (${note})`],
      remaining: this.remaining
    })
  }
}

import * as Effect from "effect/Effect"
import type { SshErrorReason } from "../../../errors/SshError.ts"
import type { Credential, PrivateKeyCredential } from "./credential.ts"
import type { Attempt } from "./login.ts"
import * as Methods from "./methods.ts"
import * as PrivateKey from "./privateKey.ts"
import { publicKey } from "./publicKey.ts"
import { sign } from "./signature.ts"

const keyAttempts = Effect.fnUntraced(function*(credential: PrivateKeyCredential) {
  const stored = yield* Effect.flatMap(PrivateKey.load(credential.key), PrivateKey.recognise)
  const passphrase = credential.passphrase === undefined
    ? undefined
    : yield* Effect.orDie(Methods.reveal(credential.passphrase))
  const key = yield* PrivateKey.unlock(stored, passphrase)
  return [publicKey({
    bytes: key.bytes,
    name: stored.source.name,
    askFirst: false,
    sign: (data, { signature }) => Effect.sync(() => sign(key, signature, data))
  })]
})

const attemptsOf = (credential: Credential): Effect.Effect<ReadonlyArray<Attempt>, SshErrorReason> => {
  switch (credential._tag) {
    case "None":
      return Effect.succeed([Methods.none])
    case "Password":
      return Effect.succeed([Methods.password(credential)])
    case "PrivateKey":
      return keyAttempts(credential)
    case "KeyboardInteractive":
      return Effect.succeed([Methods.keyboardInteractive(credential)])
  }
}

/** Gets ways to log in ready, before anything is dialled: reads and decrypts keys, asks agents what they have. */
export const prepare = (
  credentials: ReadonlyArray<Credential>
): Effect.Effect<ReadonlyArray<Attempt>, SshErrorReason> =>
  Effect.map(Effect.forEach(credentials, attemptsOf), (attempts) => attempts.flat())

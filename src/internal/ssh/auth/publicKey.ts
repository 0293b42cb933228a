import * as Effect from "effect/Effect"
import type { SshErrorReason } from "../../../errors/SshError.ts"
import { fingerprint, typeOf } from "../hostKeys/publicKey.ts"
import { boolean, string } from "../wire.ts"
import type { NoAnswer } from "./credential.ts"
import { type Reply, request } from "./exchange.ts"
import type { Attempt, Outcome } from "./login.ts"
import { orGivenUp, settled } from "./methods.ts"
import { type Algorithm, algorithmFor } from "./signature.ts"

/** A public key, or a certificate, and a way to sign for it. */
export interface Identity {
  /** The key or the certificate in SSH's own format. */
  readonly bytes: Uint8Array
  /** What it is called beside its fingerprint. */
  readonly name: string
  /** Signing costs somebody's attention, or a passphrase: ask the server first whether the key would do. */
  readonly askFirst: boolean
  /** Gives the signature with its algorithm, in SSH's own format. */
  readonly sign: (data: Uint8Array, algorithm: Algorithm) => Effect.Effect<Uint8Array, NoAnswer | SshErrorReason>
}

/** Logs in with a key, or with a certificate of the key `plain` (RFC 4252, section 7). */
export const publicKey = ({ askFirst, bytes, name, sign }: Identity, plain: Uint8Array = bytes): Attempt => ({
  method: "publickey",
  detail: `${fingerprint(plain)} ${name}`,
  identity: fingerprint(bytes),
  run: (exchange, username) =>
    orGivenUp(Effect.gen(function*() {
      const algorithm = algorithmFor(typeOf(bytes), exchange.signatures())
      const message = (signed: boolean) =>
        request(username, "publickey", boolean(signed), string(algorithm.request), string(bytes))
      const settle = (reply: Reply): Outcome => {
        const outcome = settled(reply)
        return outcome._tag === "Refused" && algorithm.note !== undefined
          ? { ...outcome, note: algorithm.note }
          : outcome
      }
      if (askFirst) {
        const reply = yield* exchange.ask("publickey", message(false))
        if (reply._tag !== "KeyWelcome") return settle(reply)
      }
      const unsigned = message(true)
      const signature = yield* sign(Buffer.concat([string(exchange.sessionId()), unsigned]), algorithm)
      return settle(yield* exchange.ask("publickey", Buffer.concat([unsigned, string(signature)])))
    }))
})

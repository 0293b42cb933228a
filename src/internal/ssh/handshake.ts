import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { SshErrorReason } from "../../errors/SshError.ts"
import type { HostKey } from "./hostKeys/publicKey.ts"
import type { Negotiated } from "./negotiated.ts"

/** What happens on the way to a session, as values that can be waited for. */
export class Handshake {
  readonly shown = Deferred.makeUnsafe<readonly [key: HostKey, permit: (permitted: boolean) => void]>()
  readonly agreed = Deferred.makeUnsafe<Negotiated>()
  readonly ready = Deferred.makeUnsafe<void>()
  readonly failed = Deferred.makeUnsafe<never, SshErrorReason>()

  fail(reason: SshErrorReason): void {
    Deferred.doneUnsafe(this.failed, Effect.fail(reason))
  }

  get phase(): string {
    return Deferred.isDoneUnsafe(this.agreed)
      ? "the login"
      : Deferred.isDoneUnsafe(this.shown)
      ? "the host key to be verified"
      : "the server's host key"
  }
}

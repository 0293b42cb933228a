/** A certificate for `localhost`, made for this process. */
import * as Effect from "effect/Effect"
import { TestCertificates } from "hawser/testing"
import type { TlsOptions } from "node:tls"

export const name = "localhost"

/** What a server needs, and the authority that its clients have to trust. */
export const certificate = (): { readonly server: TlsOptions; readonly ca: string } =>
  Effect.runSync(Effect.gen(function*() {
    const authority = yield* TestCertificates.authority()
    const { cert, key } = yield* authority.issue({ names: [name] })
    return { server: { cert, key }, ca: authority.certificate }
  }))

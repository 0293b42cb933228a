/** openssl's s_server, which gives back each line reversed. */
import * as Effect from "effect/Effect"
import { Certificates } from "./certificates.ts"
import { onFreePorts, start } from "./peer.ts"

const openssl = { command: "openssl", package: "openssl" }

/** Starts one with these arguments, and without `-cert` with the certificate for localhost; gives its port. */
export const opensslServer = (...args: ReadonlyArray<string>) =>
  onFreePorts(1, ([port]) =>
    Effect.gen(function*() {
      const { ca, server } = yield* Certificates
      const own = args.includes("-cert") ? [] : ["-cert", server.cert, "-key", server.key]
      yield* start(openssl, {
        args: ["s_server", "-accept", `127.0.0.1:${port}`, "-CAfile", ca, "-rev", "-quiet", ...own, ...args],
        cwd: "/",
        ports: [port!]
      })
      return port!
    }))

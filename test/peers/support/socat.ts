/** socat as a server. */
import * as Effect from "effect/Effect"
import { onFreePorts, start } from "./peer.ts"

export const socat = { command: "socat", package: "socat" }

/** Starts one on a free port: `listen` is its first address, for that port, and `to` what it connects it to. */
export const socatServer = (listen: (port: number) => string, to: string) =>
  onFreePorts(
    1,
    ([port]) => Effect.as(start(socat, { args: ["-t", "60", listen(port!), to], cwd: "/", ports: [port!] }), port!)
  )

/** For anyone, in plain TCP. */
export const tcp = (port: number) => `TCP-LISTEN:${port},bind=127.0.0.1,reuseaddr,fork`

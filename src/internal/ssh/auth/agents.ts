/** Where agents are: behind a socket of this machine, or in this process. */
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { AgentUnavailable } from "../../../errors/SshError.ts"
import { MemoryDuplex } from "../../memory/duplex.ts"
import { connect } from "../../net/connect.ts"
import { closeIn } from "../../net/duplex.ts"
import { expandHome } from "../userFiles.ts"
import { serve } from "./agentServer.ts"
import type { Agent, PrivateKeyCredential } from "./credential.ts"
import { localKeys } from "./localKeys.ts"

const socketOptions = { noDelay: false, keepAlive: undefined, localAddress: undefined, localPort: undefined }

const connectWithin = Duration.seconds(10)

const dial = (path: string): Agent["connect"] =>
  Effect.flatMap(Effect.scope, (scope) =>
    Effect.mapError(
      connect({ path: expandHome(path) }, socketOptions, connectWithin, (socket) => closeIn(scope, socket)),
      (reason) => new AgentUnavailable({ detail: reason.message, cause: reason })
    ))

export const socket = (path: string): Agent => ({ name: `agent ${path}`, connect: dial(path) })

export const fromEnv: Agent = {
  name: "agent",
  connect: Effect.flatMap(
    Effect.mapError(
      Config.String("SSH_AUTH_SOCK"),
      (cause) => new AgentUnavailable({ detail: "SSH_AUTH_SOCK does not say where it listens", cause })
    ),
    dial
  )
}

const memory = { bufferSize: 64 * 1024, fragment: 64 * 1024 }

export const inMemory = (credentials: ReadonlyArray<PrivateKeyCredential>): Agent => ({
  name: "agent in memory",
  connect: Effect.gen(function*() {
    const keys = yield* Effect.mapError(
      Effect.forEach(credentials, localKeys),
      (cause) => new AgentUnavailable({ detail: cause.message, cause })
    )
    const [here, there] = MemoryDuplex.pair(memory)
    const duplex = yield* Effect.flatMap(Effect.scope, (scope) => closeIn(scope, here))
    yield* Effect.forkScoped(serve(there, keys.flat()))
    return duplex
  })
})

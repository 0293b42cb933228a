import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import { Duplex } from "node:stream"
import type { ClientChannel, ConnectConfig } from "ssh2"
import { guardErrors } from "../../net/owner.ts"
import { relay } from "../../net/relay.ts"
import type { Agent } from "../auth/credential.ts"
import { ChannelDuplex } from "../channel/duplex.ts"
import type { Request } from "../channel/request.ts"
import type { Connection } from "../connection.ts"
import { isChannel, stopAgentForwarding } from "../protocol.ts"
import Ssh2 from "../ssh2.ts"

/** How many programs on the server may ask the agent at a time: a server must not fill this machine with connections. */
const maxChannels = 64

/** ssh2's words, by which it is told from a command that is refused. */
const refused = "Unable to request agent forwarding"

/**
 * What ssh2 gets for the agent's stream. It pipes the channel to it and it back, and does not look after breaks: this one
 * undoes that and hands the channel over.
 */
class Handover extends Duplex {
  private readonly to: (channel: ClientChannel) => void

  constructor(to: (channel: ClientChannel) => void) {
    super()
    this.to = to
  }

  override _read(): void {}

  override pipe<T extends NodeJS.WritableStream>(destination: T): T {
    if (isChannel(destination)) {
      destination.unpipe(this)
      this.to(destination)
    }
    this.destroy()
    return destination
  }
}

type Give = (error: Error | undefined, stream?: Duplex) => void

/** An agent as ssh2 knows them, which never logs in. */
class ForwardedAgent extends Ssh2.BaseAgent<never> {
  override readonly getStream: (give: Give) => void

  constructor(getStream: (give: Give) => void) {
    super()
    this.getStream = getStream
  }

  override getIdentities(done: (error: Error | undefined) => void): void {
    done(new Error("it is for the server's programs"))
  }

  override sign(): void {}
}

/** Lets the programs of a server ask an agent. */
export interface AgentForwarding {
  /** For ssh2's settings: it asks the server for it with the first command or shell. */
  readonly settings: Pick<ConnectConfig, "agent" | "agentForward">
  /** Asks for a command or a shell again, without an agent, where the server does not let its programs ask one. */
  readonly request: (request: Request) => Request
}

/**
 * Lets the programs that a server runs for us ask an agent of ours, for as long as the scope lives. Each that does gets a
 * connection to it.
 */
export const make = Effect.fnUntraced(function*(agent: Agent, connection: () => Connection) {
  const run = yield* FiberSet.makeRuntime()
  let open = 0

  const serve = (give: Give) => {
    const { observer } = connection()
    const failed = (error: Error) => Effect.sync(() => observer.event("agent failed", () => error.message))
    return Effect.gen(function*() {
      const duplex = yield* Effect.tapError(agent.connect, (error) => Effect.sync(() => give(error)))
      const channel = yield* Effect.callback<ClientChannel>((resume) =>
        give(undefined, new Handover((channel) => resume(Effect.succeed(channel))))
      )
      observer.event("agent asked", () => agent.name)
      yield* relay(guardErrors(new ChannelDuplex(connection(), channel)), duplex)
    }).pipe(Effect.catch(failed), Effect.scoped, Effect.ensuring(Effect.sync(() => open--)))
  }

  const forwarding: AgentForwarding = {
    settings: {
      agentForward: true,
      agent: new ForwardedAgent((give) => {
        if (open >= maxChannels) return give(new Error("too many ask the agent"))
        open++
        run(serve(give))
      })
    },
    request: (request) => (done) =>
      request((error, channel) => {
        const { client, observer } = connection()
        if (error?.message !== refused || !stopAgentForwarding(client)) return done(error, channel)
        observer.event("agent refused", () => "the server does not let its programs ask one")
        request(done)
      })
  }
  return forwarding
})

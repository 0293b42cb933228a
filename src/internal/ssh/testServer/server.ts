/** An SSH server for tests: ssh2's, whose commands are effects. Nothing of it runs on the machine. */
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import { cast } from "effect/Function"
import type { Duplex } from "node:stream"
import type { AuthContext, Connection, EncryptedPrivateKey, ParsedKey } from "ssh2"
import { inOnePiece } from "../identification.ts"
import Ssh2 from "../ssh2.ts"
import type { CommandRequest, Running } from "./command.ts"
import * as Forwarding from "./forwarding.ts"
import * as Session from "./session.ts"

/** How a server is with its clients. */
export interface ServerOptions {
  /** Its private keys; the first one of each type counts. */
  readonly hostKeys: readonly [ParsedKey, ...ReadonlyArray<ParsedKey>]
  /** What it says before anybody is logged in. Default: nothing. */
  readonly banner?: string | undefined
  /** Decides about the attempts to log in of one client. */
  readonly authenticate: () => (context: AuthContext) => void
  /** What every command has in its environment. */
  readonly env: Readonly<Record<string, string>>
  /** Whether commands may ask their users' agents. */
  readonly allowsAgents: boolean
  readonly decide: (request: CommandRequest) => Session.Decision
  /** Hears of each command that is run, before it is. */
  readonly onCommand: (running: Running) => void
  /** Default: nothing is forwarded. */
  readonly forwarding?: Forwarding.Forwarding | undefined
  /** Is given each client as ssh2 knows it. */
  readonly onClient?: ((client: Connection) => void) | undefined
}

/** The longest time that there is for a timer, in milliseconds: ssh2 asks silent clients whether they are there, or never. */
const never = 2 ** 31 - 1

/**
 * Serves one connection, until it is closed. What runs for its client is interrupted then, and the connection is closed when this
 * is interrupted.
 */
export const serve = (options: ServerOptions, duplex: Duplex): Effect.Effect<void> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const fork = yield* FiberSet.makeRuntime()
    const run = (effect: Effect.Effect<void>) => {
      const fiber = fork(effect)
      return () => fiber.interruptUnsafe()
    }

    const welcome = (client: Connection) => {
      let user = ""
      const authenticate = options.authenticate()
      client
        .on("error", () => {})
        .on("authentication", (context) => {
          user = context.username
          authenticate(context)
        })
        .on("session", (accept) =>
          Session.serve(accept(), {
            user,
            env: options.env,
            allowsAgents: options.allowsAgents,
            decide: options.decide,
            onCommand: options.onCommand,
            run
          }))
      if (options.forwarding !== undefined) Forwarding.serve(client, options.forwarding, scope, run)
      options.onClient?.(client)
    }

    yield* Effect.callback<void>((resume) => {
      const closed = () => resume(Effect.void)
      // who says the end has left: SSH has no half-close of the connection itself
      duplex.once("close", closed).once("end", () => duplex.end())
      inOnePiece(duplex)
      // its types do not know that it takes keys that have been parsed, and streams that are no sockets
      const hostKeys = options.hostKeys.map((key): EncryptedPrivateKey => cast({ key }))
      const settings = { hostKeys, keepaliveInterval: never }
      const server = new Ssh2.Server(
        options.banner === undefined ? settings : { ...settings, banner: options.banner },
        welcome
      )
      server.injectSocket(cast(duplex))
      if (duplex.closed) closed()
      return Effect.sync(() => {
        duplex.off("close", closed).destroy()
      })
    })
  }).pipe(Effect.scoped)

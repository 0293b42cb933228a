import * as Effect from "effect/Effect"
import { cast } from "effect/Function"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { EventEmitter } from "node:events"
import type { Client, ClientChannel, PseudoTtyOptions } from "ssh2"
import { Sessions } from "../channel/sessions.ts"
import { type Connection, Life } from "../connection.ts"
import { hostKey } from "../hostKeys/publicKey.ts"
import type { Negotiated } from "../negotiated.ts"
import { Observer } from "../observe.ts"
import { type CommandHandler, type CommandRequest, Running } from "../testServer/command.ts"
import { string } from "../wire.ts"
import { FakeClientChannel } from "./channel.ts"

type Done = (error: Error | undefined, channel: ClientChannel) => void

/** What a command is started with. */
interface Settings {
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly pty?: PseudoTtyOptions | undefined
}

/** What stands in for ssh2's client: it asks handlers for channels, and no server. */
class FakeClient extends EventEmitter {
  private readonly user: string
  private readonly handlerOf: (request: CommandRequest) => CommandHandler
  private readonly run: (effect: Effect.Effect<void>) => () => void
  private readonly open = new Set<FakeClientChannel>()

  constructor(
    user: string,
    handlerOf: (request: CommandRequest) => CommandHandler,
    run: (effect: Effect.Effect<void>) => () => void
  ) {
    super()
    this.user = user
    this.handlerOf = handlerOf
    this.run = run
  }

  exec(command: string, settings: Settings, done: Done): void {
    this.start("exec", command, settings, done)
  }

  shell(pty: PseudoTtyOptions, settings: Settings, done: Done): void {
    this.start("shell", "", { ...settings, pty }, done)
  }

  subsys(name: string, done: Done): void {
    this.start("subsystem", name, {}, done)
  }

  /** Ends all that runs. */
  end(): void {
    for (const channel of this.open) channel.close()
  }

  private start(kind: CommandRequest["kind"], command: string, { env = {}, pty }: Settings, done: Done): void {
    const { cols: columns = 0, rows = 0, term = "xterm" } = pty ?? {}
    const terminal = pty === undefined ? Option.none() : Option.some({ term, columns, rows })
    const request: CommandRequest = { kind, command, user: this.user, env, terminal }
    let running: Running | undefined
    let stop = () => {}
    const [client, stream] = FakeClientChannel.ends({
      onSignal: (name) => running?.signal(name),
      onResize: (columns, rows) => running?.resize({ columns, rows }),
      onClose: () => stop()
    })
    this.open.add(client)
    client.once("close", () => void this.open.delete(client))
    process.nextTick(() => {
      done(undefined, cast<FakeClientChannel, ClientChannel>(client))
      stop = this.run(Effect.flatMap(Running.make(request, { columns, rows }, stream), (made) => {
        running = made
        return made.run(this.handlerOf(request))
      }))
    })
  }
}

/** All servers have the same key, which is the public half of none. */
const key = hostKey(Buffer.concat([string("ssh-ed25519"), string(Buffer.alloc(32, 1))]))

const direction = { cipher: "none", mac: "none", compression: "none" }
const algorithms: Negotiated = { keyExchange: "none", hostKey: key.type, sending: direction, receiving: direction }

/** Who is called by whom, and how. */
export interface FakeServer {
  /** How errors call it. */
  readonly name: string
  readonly user: string
  readonly handlerOf: (request: CommandRequest) => CommandHandler
  /** Runs an effect, and gives what interrupts it. */
  readonly run: (effect: Effect.Effect<void>) => () => void
}

/** A connection on which handlers answer, for as long as the scope lives. */
export const connect = ({ handlerOf, name, run, user }: FakeServer): Effect.Effect<Connection, never, Scope.Scope> =>
  Effect.gen(function*() {
    const observer = new Observer(name, yield* Effect.context())
    const life = new Life()
    const fake = new FakeClient(user, handlerOf, run)
    const client = cast<FakeClient, Client>(fake)
    const close = Effect.sync(() => {
      life.end("the session was closed")
      fake.end()
    })
    yield* Effect.addFinalizer(() => close)
    return {
      client,
      hostKey: key,
      serverVersion: "SSH-2.0-Hawser_layerTest",
      banner: "",
      algorithms,
      observer,
      sessions: new Sessions(client, observer),
      withAgent: (request) => request,
      lost: life.lost,
      onLost: life.onLost,
      rekey: Effect.suspend(() => {
        const lost = life.lost()
        return lost === undefined ? Effect.void : Effect.fail(lost)
      }),
      close
    }
  })

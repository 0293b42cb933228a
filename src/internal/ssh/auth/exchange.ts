import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { createRequire } from "node:module"
import { Unsupported } from "../../../errors/SshError.ts"
import { string } from "../wire.ts"

const require = createRequire(import.meta.url)

/** A question of keyboard-interactive; `echo` says whether the answer may be seen while it is typed. */
export interface Prompt {
  readonly prompt: string
  readonly echo: boolean
}

/** What a server says to a request (RFC 4252, section 5.1, and the methods' own answers). */
export type Reply =
  | { readonly _tag: "Accepted" }
  | { readonly _tag: "Refused"; readonly remaining: ReadonlyArray<string>; readonly partial: boolean }
  | { readonly _tag: "KeyWelcome" }
  | { readonly _tag: "ChangePassword"; readonly prompt: string }
  | {
    readonly _tag: "Questions"
    readonly name: string
    readonly instruction: string
    readonly prompts: ReadonlyArray<Prompt>
  }

/** The dialogue in which a client logs in: one request, one reply. */
export interface Exchange {
  /** Waits until the server is ready for it. */
  readonly opened: Effect.Effect<void>
  /** What signatures are made over, so that they are good for this connection only. */
  readonly sessionId: () => Uint8Array
  /** The signature algorithms that the server says it knows (RFC 8308, section 3.1), where it says so. */
  readonly signatures: () => ReadonlyArray<string> | undefined
  /** Whether the server was asked anything yet. */
  readonly hasAsked: () => boolean
  /** Sends a message that belongs to a method, and waits for what the server says to it. */
  readonly ask: (method: string, message: Uint8Array) => Effect.Effect<Reply>
}

type Handler = (protocol: unknown, ...values: ReadonlyArray<any>) => void

/** The part of ssh2's protocol object that a login goes through. Its types have none of it. */
interface Protocol {
  readonly _handlers: Record<string, Handler>
  /** The methods under way: by the first, the messages are told apart that methods have of their own. */
  readonly _authsQueue: Array<string>
  readonly _kex: { readonly sessionID: Uint8Array }
  readonly _packetRW: {
    readonly write: {
      /** Where a payload begins; another one while keys are exchanged. */
      readonly allocStart: number
      readonly alloc: (size: number) => Uint8Array
      readonly finalize: (packet: Uint8Array) => Uint8Array
    }
  }
}

const handlers = [
  "SERVICE_ACCEPT",
  "EXT_INFO",
  "USERAUTH_SUCCESS",
  "USERAUTH_FAILURE",
  "USERAUTH_PK_OK",
  "USERAUTH_PASSWD_CHANGEREQ",
  "USERAUTH_INFO_REQUEST"
]

const get = (of: unknown, name: string): unknown =>
  typeof of === "object" && of !== null ? Reflect.get(of, name) : undefined

const isKnown = (protocol: unknown): protocol is Protocol => {
  const write = get(get(protocol, "_packetRW"), "write")
  return handlers.every((name) => typeof get(get(protocol, "_handlers"), name) === "function") &&
    Array.isArray(get(protocol, "_authsQueue")) &&
    typeof protocol === "object" && protocol !== null && "_kex" in protocol &&
    typeof get(write, "allocStart") === "number" &&
    typeof get(write, "alloc") === "function" &&
    typeof get(write, "finalize") === "function"
}

type SendPacket = (protocol: Protocol, packet: Uint8Array) => void

// this file loads nothing else of ssh2, which `binding.ts` has to come before
const loadSendPacket = (): SendPacket | undefined => {
  try {
    const utils: { readonly sendPacket?: SendPacket } = require("ssh2/lib/protocol/utils.js")
    return typeof utils.sendPacket === "function" ? utils.sendPacket : undefined
  } catch {
    return undefined
  }
}

const sendPacket = loadSendPacket()

const unknownShape = new Unsupported({
  feature: "other",
  detail: "this version of ssh2 is not the one that this library knows how to log in with"
})

/**
 * Takes the login over from ssh2, which knows neither certificates nor security keys, asks nobody in time and tells
 * little of what happened. Has to be done in the moment that `client.connect` returns. ssh2 still does the encryption and
 * learns of the success.
 */
export const takeOver = (client: object): Effect.Effect<Exchange, Unsupported> =>
  Effect.suspend(() => {
    const protocol = get(client, "_protocol")
    if (!isKnown(protocol) || sendPacket === undefined) return Effect.fail(unknownShape)

    const opened = Deferred.makeUnsafe<void>()
    let signatures: ReadonlyArray<string> | undefined
    let asked = false
    let waiting: ((reply: Reply) => void) | undefined
    const reply = (reply: Reply) => {
      const resume = waiting
      waiting = undefined
      resume?.(reply)
    }

    const { USERAUTH_SUCCESS: succeed } = protocol._handlers
    Object.assign<Protocol["_handlers"], Record<string, Handler>>(protocol._handlers, {
      SERVICE_ACCEPT: () => Deferred.doneUnsafe(opened, Effect.void),
      EXT_INFO: (_, extensions: ReadonlyArray<{ readonly name: string; readonly algs: ReadonlyArray<string> }>) => {
        signatures = extensions.find(({ name }) => name === "server-sig-algs")?.algs ?? signatures
      },
      USERAUTH_SUCCESS: (protocol) => {
        succeed!(protocol)
        reply({ _tag: "Accepted" })
      },
      USERAUTH_FAILURE: (_, remaining: ReadonlyArray<string>, partial: boolean) =>
        reply({ _tag: "Refused", remaining, partial }),
      USERAUTH_PK_OK: () => reply({ _tag: "KeyWelcome" }),
      USERAUTH_PASSWD_CHANGEREQ: (_, prompt: string) => reply({ _tag: "ChangePassword", prompt }),
      USERAUTH_INFO_REQUEST: (_, name: string, instruction: string, prompts: ReadonlyArray<Prompt>) =>
        reply({ _tag: "Questions", name, instruction, prompts })
    })

    const send = (message: Uint8Array): void => {
      const { write } = protocol._packetRW
      const start = write.allocStart
      const packet = write.alloc(message.length)
      packet.set(message, start)
      try {
        sendPacket(protocol, write.finalize(packet))
      } catch {
        // the connection is over, and whoever waits for the session learns it from there
      }
    }

    return Effect.succeed({
      opened: Deferred.await(opened),
      sessionId: () => protocol._kex.sessionID,
      signatures: () => signatures,
      hasAsked: () => asked,
      ask: (method, message) =>
        Effect.callback((resume) => {
          asked = true
          waiting = (reply) => resume(Effect.succeed(reply))
          // one request at a time: what was given up must not decide how the next answer is read
          protocol._authsQueue.splice(0, Infinity, method)
          send(message)
          return Effect.sync(() => {
            waiting = undefined
          })
        })
    })
  })

/** A request to log in (RFC 4252, section 5). */
export const request = (username: string, method: string, ...fields: ReadonlyArray<Uint8Array>): Buffer =>
  Buffer.concat([Buffer.of(50), string(username), string("ssh-connection"), string(method), ...fields])

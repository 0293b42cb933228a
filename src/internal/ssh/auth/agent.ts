/** The protocol of SSH agents (draft-ietf-sshm-ssh-agent), the side that asks. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Duplex } from "node:stream"
import { AgentUnavailable } from "../../../errors/SshError.ts"
import { answer } from "../../net/handshake.ts"
import { parse } from "../hostKeys/publicKey.ts"
import { Reader, string, uint32 } from "../wire.ts"
import { type Agent, NoAnswer } from "./credential.ts"
import type { Algorithm } from "./signature.ts"

export const message = {
  failure: 5,
  requestIdentities: 11,
  identitiesAnswer: 12,
  signRequest: 13,
  signResponse: 14
} as const

/** OpenSSH takes no longer ones. */
const maxMessage = 256 * 1024

const notAnAgent = (detail: string, cause?: unknown) =>
  new AgentUnavailable({
    detail: `it does not answer as an agent does: ${detail}`,
    ...(cause === undefined ? {} : { cause })
  })

/** Reads one message, and nothing behind it. */
export const readMessage = (duplex: Duplex): Effect.Effect<Buffer, AgentUnavailable> =>
  Effect.suspend(() => {
    let received: Buffer = Buffer.alloc(0)
    return answer(duplex, {
      limit: 4 + maxMessage,
      broken: ({ cause, detail }) => notAnAgent(detail, cause),
      parse: (bytes) => {
        received = Buffer.concat([received, bytes])
        if (received.length < 4) return undefined
        const end = 4 + received.readUInt32BE()
        if (end > 4 + maxMessage) {
          return { used: bytes.length, result: Effect.fail(notAnAgent("a message is too long")) }
        }
        if (received.length < end) return undefined
        return { used: bytes.length - (received.length - end), result: Effect.succeed(received.subarray(4, end)) }
      }
    })
  })

/** Connects, asks one thing, and closes: nothing is held open while a server thinks. */
const ask = Effect.fnUntraced(function*(agent: Agent, type: number, ...fields: ReadonlyArray<Uint8Array>) {
  const duplex = yield* agent.connect
  duplex.write(string(Buffer.concat([Buffer.of(type), ...fields])))
  return new Reader(yield* readMessage(duplex))
}, Effect.scoped)

/** A key that an agent holds: the key or the certificate in SSH's own format, and what it is called. */
export interface Held {
  readonly bytes: Buffer
  readonly comment: string
}

/** The key itself, without a certificate around it; keys of types that we do not know are left as they are. */
export const keyOf = (bytes: Uint8Array): Uint8Array => parse(bytes)?.bytes ?? bytes

const listWithin = Duration.seconds(10)

const withoutControls = (text: string) => text.replaceAll(/\p{Cc}/gu, " ")

/** What an agent holds. */
export const list = Effect.fnUntraced(
  function*(agent: Agent): Effect.fn.Return<ReadonlyArray<Held>, AgentUnavailable> {
    const reader = yield* ask(agent, message.requestIdentities)
    const type = reader.byte()
    if (type !== message.identitiesAnswer) return yield* notAnAgent(`it lists no keys (${type})`)
    const count = reader.uint32()
    const held: Array<Held> = []
    while (held.length < count && !reader.failed) {
      held.push({ bytes: reader.string(), comment: withoutControls(reader.text()) })
    }
    if (reader.failed) return yield* notAnAgent("its list of keys is cut off")
    return held
  },
  Effect.timeoutOrElse({
    duration: listWithin,
    orElse: () => Effect.fail(notAnAgent(`it is silent for ${Duration.format(listWithin)}`))
  })
)

/** How long a person may take to touch a key or to click on "allow". */
const signWithin = Duration.minutes(2)

const flags: Readonly<Record<string, number>> = { "rsa-sha2-256": 2, "rsa-sha2-512": 4 }

/** Has an agent sign. The signature comes with its algorithm, in SSH's own format, and is passed on as it is. */
export const sign = (
  agent: Agent,
  key: Uint8Array,
  data: Uint8Array,
  { signature }: Algorithm
): Effect.Effect<Uint8Array, NoAnswer> =>
  ask(agent, message.signRequest, string(key), string(data), uint32(flags[signature] ?? 0)).pipe(
    Effect.mapError((unavailable) => new NoAnswer({ why: unavailable.message })),
    Effect.flatMap((reader) => {
      const type = reader.byte()
      const signature = reader.string()
      return type === message.signResponse && !reader.failed
        ? Effect.succeed(signature)
        : Effect.fail(new NoAnswer({ why: "the agent refused to sign" }))
    }),
    Effect.timeoutOrElse({
      duration: signWithin,
      orElse: () => Effect.fail(new NoAnswer({ why: `the agent has not signed within ${Duration.format(signWithin)}` }))
    })
  )

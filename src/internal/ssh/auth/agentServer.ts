/** The protocol of SSH agents (draft-ietf-sshm-ssh-agent), the side that answers: keys in this process. */
import * as Effect from "effect/Effect"
import type { Duplex } from "node:stream"
import { Reader, string, uint32 } from "../wire.ts"
import { message, readMessage } from "./agent.ts"
import type { LocalKey } from "./localKeys.ts"
import { algorithmFor, sign } from "./signature.ts"

const failure = Buffer.of(message.failure)

const rsaWith: Readonly<Record<number, string>> = { 2: "rsa-sha2-256", 4: "rsa-sha2-512" }

const signed = Effect.fnUntraced(function*(keys: ReadonlyArray<LocalKey>, reader: Reader) {
  const bytes = reader.string()
  const data = reader.string()
  const flags = reader.uint32()
  const found = keys.find((key) => bytes.equals(key.bytes))
  if (found === undefined || reader.failed) return failure
  const key = yield* found.unlocked
  const algorithm = key.type === "ssh-rsa" ? rsaWith[flags & 6] : algorithmFor(key.type, undefined).signature
  // without a flag an RSA key would sign with SHA-1
  if (algorithm === undefined) return failure
  return Buffer.concat([Buffer.of(message.signResponse), string(sign(key, algorithm, data))])
})

const listed = (keys: ReadonlyArray<LocalKey>): Buffer =>
  Buffer.concat([
    Buffer.of(message.identitiesAnswer),
    uint32(keys.length),
    ...keys.flatMap(({ bytes, name }) => [string(bytes), string(name)])
  ])

const respond = (keys: ReadonlyArray<LocalKey>, request: Buffer): Effect.Effect<Buffer> => {
  const reader = new Reader(request)
  switch (reader.byte()) {
    case message.requestIdentities:
      return Effect.succeed(listed(keys))
    case message.signRequest:
      return Effect.orElseSucceed(signed(keys, reader), () => failure)
    default:
      return Effect.succeed(failure)
  }
}

/** Answers until the other side is gone. */
export const serve = (duplex: Duplex, keys: ReadonlyArray<LocalKey>): Effect.Effect<void> =>
  readMessage(duplex).pipe(
    Effect.flatMap((request) => respond(keys, request)),
    Effect.map((response) => void duplex.write(string(response))),
    Effect.forever,
    Effect.catch(() => Effect.sync(() => void duplex.destroy()))
  )

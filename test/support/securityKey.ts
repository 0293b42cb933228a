/** An agent with a security key: the device is a key in this process, the protocol is the real one (`PROTOCOL.u2f`). */
import * as Effect from "effect/Effect"
import * as Crypto from "node:crypto"
import { MemoryDuplex } from "../../src/internal/memory/duplex.ts"
import { message, readMessage } from "../../src/internal/ssh/auth/agent.ts"
import { Reader, string, uint32 } from "../../src/internal/ssh/wire.ts"
import type { SshAgent } from "../../src/services/SshAgent.ts"

const application = "ssh:"

const sha256 = (data: Uint8Array | string) => Crypto.createHash("sha256").update(data).digest()

/** Gives the agent, and the public key as a line of authorized_keys. */
export const securityKey = (): { readonly agent: SshAgent; readonly publicKey: string } => {
  const { privateKey, publicKey } = Crypto.generateKeyPairSync("ed25519")
  const raw = Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url")
  const type = "sk-ssh-ed25519@openssh.com"
  const bytes = Buffer.concat([string(type), string(raw), string(application)])
  const touched = Buffer.of(1)
  let counter = 0

  const sign = (data: Uint8Array) => {
    const count = uint32(++counter)
    const signed = Buffer.concat([sha256(application), touched, count, sha256(data)])
    return Buffer.concat([string(type), string(Crypto.sign(undefined, signed, privateKey)), touched, count])
  }
  const respond = (request: Buffer): Buffer => {
    const reader = new Reader(request)
    if (reader.byte() === message.requestIdentities) {
      return Buffer.concat([Buffer.of(message.identitiesAnswer), uint32(1), string(bytes), string("a security key")])
    }
    reader.string()
    return Buffer.concat([Buffer.of(message.signResponse), string(sign(reader.string()))])
  }
  const connect = Effect.gen(function*() {
    const [here, there] = MemoryDuplex.pair({ bufferSize: 65536, fragment: 65536 })
    yield* Effect.addFinalizer(() => Effect.sync(() => void here.destroy()))
    yield* readMessage(there).pipe(
      Effect.map((request) => void there.write(string(respond(request)))),
      Effect.forever,
      Effect.ignore,
      Effect.forkScoped
    )
    return here
  })
  return { agent: { name: "agent", connect }, publicKey: `${type} ${bytes.toString("base64")} security` }
}

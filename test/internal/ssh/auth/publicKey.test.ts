import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Crypto from "node:crypto"
import { NoAnswer } from "../../../../src/internal/ssh/auth/credential.ts"
import type { Exchange, Reply } from "../../../../src/internal/ssh/auth/exchange.ts"
import { recognise, unlock } from "../../../../src/internal/ssh/auth/privateKey.ts"
import { type Identity, publicKey } from "../../../../src/internal/ssh/auth/publicKey.ts"
import { sign } from "../../../../src/internal/ssh/auth/signature.ts"
import { Reader, string } from "../../../../src/internal/ssh/wire.ts"
import { certificateOf } from "../../../support/sshCertificate.ts"

const welcome: Reply = { _tag: "KeyWelcome" }
const accepted: Reply = { _tag: "Accepted" }
const refused: Reply = { _tag: "Refused", remaining: ["publickey"], partial: false }

/** A server that gives these answers and keeps what it was sent. */
const server = (replies: ReadonlyArray<Reply>, signatures?: ReadonlyArray<string>) => {
  const left = [...replies]
  const sent: Array<Buffer> = []
  const exchange: Exchange = {
    opened: Effect.void,
    sessionId: () => Buffer.from("a session"),
    signatures: () => signatures,
    hasAsked: () => sent.length > 0,
    ask: (method, message) =>
      Effect.sync(() => {
        assert.strictEqual(method, "publickey")
        sent.push(Buffer.from(message))
        return left.shift() ?? assert.fail("one message too many")
      })
  }
  return { exchange, sent }
}

/** What a message says (RFC 4252, section 7). */
const read = (message: Buffer) => {
  const reader = new Reader(message)
  assert.strictEqual(reader.byte(), 50)
  const [username, service, method] = [reader.text(), reader.text(), reader.text()]
  assert.deepStrictEqual([username, service, method], ["demo", "ssh-connection", "publickey"])
  const isSigned = reader.byte() === 1
  const algorithm = reader.text()
  const bytes = reader.string()
  const signed = Buffer.concat([string("a session"), message.subarray(0, reader.position)])
  const signature = isSigned ? new Reader(reader.string()) : undefined
  assert.isTrue(reader.done && !reader.failed)
  return {
    algorithm,
    bytes,
    signed,
    signature: signature && { algorithm: signature.text(), bytes: signature.string() }
  }
}

const keyOf = (key: Crypto.KeyObject) =>
  Effect.flatMap(
    recognise({ name: "a key", path: undefined, bytes: Buffer.from(key.export({ format: "pem", type: "pkcs8" })) }),
    (stored) => unlock(stored, undefined)
  )

const identityOf = Effect.fnUntraced(function*(key: Crypto.KeyObject, isCertificate = false) {
  const own = yield* keyOf(key)
  const [, base64 = ""] = certificateOf(own.bytes).split(" ")
  const identity: Identity = {
    bytes: isCertificate ? Buffer.from(base64, "base64") : own.bytes,
    name: "a key",
    askFirst: false,
    sign: (data, { signature }) => Effect.sync(() => sign(own, signature, data))
  }
  return identity
})

const rsa = Crypto.generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey
const ed25519 = Crypto.generateKeyPairSync("ed25519").privateKey
const ec = ["P-256", "P-384", "P-521"].map((namedCurve) => Crypto.generateKeyPairSync("ec", { namedCurve }).privateKey)

/** The two numbers of an ECDSA signature as halves of the same size. */
const halves = (signature: Buffer, size: number) => {
  const reader = new Reader(signature)
  return Buffer.concat([reader.string(), reader.string()].map((number) => {
    assert.isBelow(number[0]!, 0x80)
    return Buffer.concat([Buffer.alloc(size), number]).subarray(-size)
  }))
}

describe("publicKey", () => {
  it.effect("signs with each type of key, alone and in a certificate", () =>
    Effect.gen(function*() {
      const vendor = "-cert-v01@openssh.com"
      const known = ["ssh-ed25519", "rsa-sha2-256", "rsa-sha2-512"]
      const keys = [
        [rsa, "rsa-sha2-512", "sha512", 0],
        [ed25519, "ssh-ed25519", undefined, 0],
        [ec[0]!, "ecdsa-sha2-nistp256", "sha256", 32],
        [ec[1]!, "ecdsa-sha2-nistp384", "sha384", 48],
        [ec[2]!, "ecdsa-sha2-nistp521", "sha512", 66]
      ] as const
      for (const [key, algorithm, hash, size] of keys) {
        for (const isCertificate of [false, true]) {
          const identity = yield* identityOf(key, isCertificate)
          const { exchange, sent } = server([accepted], known)
          assert.deepStrictEqual(yield* publicKey(identity).run(exchange, "demo"), accepted)
          const { signature, signed, ...request } = read(sent[0]!)
          assert.deepStrictEqual(request, {
            algorithm: isCertificate ? `${algorithm}${vendor}` : algorithm,
            bytes: Buffer.from(identity.bytes)
          })
          assert(signature !== undefined)
          assert.strictEqual(signature.algorithm, algorithm)
          const raw = size === 0 ? signature.bytes : halves(signature.bytes, size)
          const publicPart = Crypto.createPublicKey(key)
          assert.isTrue(Crypto.verify(hash, signed, { key: publicPart, dsaEncoding: "ieee-p1363" }, raw))
        }
      }
    }))

  it.effect("signs for RSA keys with what the server knows, and never with SHA-1", () =>
    Effect.gen(function*() {
      const identity = yield* identityOf(rsa)
      const note = {
        note: "the server does not say that it knows signatures of RSA keys with SHA-2, and with SHA-1 none are made"
      }
      const cases = [
        [["ssh-rsa", "rsa-sha2-256"], "rsa-sha2-256", {}],
        [["rsa-sha2-256", "rsa-sha2-512"], "rsa-sha2-512", {}],
        [["ssh-rsa"], "rsa-sha2-256", note],
        [undefined, "rsa-sha2-256", note]
      ] as const
      for (const [known, algorithm, remark] of cases) {
        const { exchange, sent } = server([refused], known)
        assert.deepStrictEqual(yield* publicKey(identity).run(exchange, "demo"), { ...refused, ...remark })
        assert.strictEqual(read(sent[0]!).algorithm, algorithm)
      }
    }))

  it.effect("asks first whether a key would do that costs something", () =>
    Effect.gen(function*() {
      const identity = { ...(yield* identityOf(ed25519)), askFirst: true }
      const welcomed = server([welcome, accepted])
      assert.deepStrictEqual(yield* publicKey(identity).run(welcomed.exchange, "demo"), accepted)
      assert.deepStrictEqual(welcomed.sent.map((message) => read(message).signature !== undefined), [false, true])
      const unwelcome = server([refused])
      assert.deepStrictEqual(yield* publicKey(identity).run(unwelcome.exchange, "demo"), refused)
      const reluctant: Identity = { ...identity, sign: () => Effect.fail(new NoAnswer({ why: "it is tired" })) }
      assert.deepStrictEqual(yield* publicKey(reluctant).run(server([welcome]).exchange, "demo"), {
        _tag: "GivenUp",
        note: "it is tired"
      })
    }))

  it.effect("gives up when the server answers something else", () =>
    Effect.gen(function*() {
      const { exchange } = server([{ _tag: "ChangePassword", prompt: "" }])
      const outcome = yield* publicKey(yield* identityOf(ed25519)).run(exchange, "demo")
      assert.deepStrictEqual(outcome, { _tag: "GivenUp", note: "the server answered what was not asked" })
    }))
})

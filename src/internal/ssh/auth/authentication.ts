import * as Effect from "effect/Effect"
import { KeyUnreadable, type SshErrorReason } from "../../../errors/SshError.ts"
import * as PublicKeys from "../hostKeys/publicKey.ts"
import { asking } from "../patience.ts"
import * as Agent from "./agent.ts"
import type { Credential, PrivateKeyCredential } from "./credential.ts"
import { localKeys } from "./localKeys.ts"
import { type Attempt, givenUp } from "./login.ts"
import * as Methods from "./methods.ts"
import { load } from "./privateKey.ts"
import { publicKey } from "./publicKey.ts"
import { sign } from "./signature.ts"

/** The fingerprint of a key that is named by it, by a line of a `.pub` file or by the path of one. */
const fingerprintOf = Effect.fnUntraced(function*(name: string) {
  if (name.startsWith("SHA256:")) return name
  const source = yield* load(name)
  const key = PublicKeys.fromText(source.bytes.toString().trimStart())
  return key === undefined
    ? yield* new KeyUnreadable({ detail: `${JSON.stringify(source.name)} holds no public key` })
    : PublicKeys.fingerprint(key.bytes)
})

const isCertificate = ({ bytes }: Agent.Held) => PublicKeys.parse(bytes)?.inCertificate === true

/** An attempt that ends before it begins; the error then says why. */
const hopeless = (detail: string, note: string): Attempt => ({
  method: "publickey",
  detail,
  run: () => Effect.succeed(givenUp(note))
})

const agentAttempts = Effect.fnUntraced(function*({ agent, keys }: Credential & { readonly _tag: "Agent" }) {
  const wanted = keys === undefined ? undefined : yield* Effect.forEach(keys, fingerprintOf)
  const held = yield* Agent.list(agent)
  const usable = held.filter(({ bytes }) =>
    wanted === undefined
      // nobody accepts these any more, and each try counts
      ? PublicKeys.typeOf(bytes) !== "ssh-dss"
      : wanted.includes(PublicKeys.fingerprint(Agent.keyOf(bytes)))
  )
  if (usable.length === 0) {
    return [hopeless(agent.name, wanted === undefined ? "it has no keys" : "it has none of the keys asked for")]
  }
  // a certificate is the likeliest to be accepted, and servers allow few tries
  const certificatesFirst = usable.toSorted((one, other) => Number(isCertificate(other)) - Number(isCertificate(one)))
  return certificatesFirst.map(({ bytes, comment }) =>
    publicKey({
      bytes,
      name: `${agent.name}: ${comment}`,
      askFirst: true,
      sign: (data, algorithm) => asking(Agent.sign(agent, bytes, data, algorithm))
    }, Agent.keyOf(bytes))
  )
})

const keyAttempts = (credential: PrivateKeyCredential) =>
  Effect.map(localKeys(credential), (keys) =>
    keys.map(({ bytes, locked, name, plain, unlocked }) =>
      publicKey({
        bytes,
        name,
        askFirst: locked,
        sign: (data, { signature }) => Effect.map(unlocked, (key) => sign(key, signature, data))
      }, plain)
    ))

const attemptsOf = (credential: Credential): Effect.Effect<ReadonlyArray<Attempt>, SshErrorReason> => {
  switch (credential._tag) {
    case "None":
      return Effect.succeed([Methods.none])
    case "Password":
      return Methods.password(credential)
    case "KeyboardInteractive":
      return Effect.succeed([Methods.keyboardInteractive(credential)])
    case "PrivateKey":
      return keyAttempts(credential)
    default:
      return agentAttempts(credential)
  }
}

/** That there is no agent only matters where there is no other way. */
const attemptsOfOneAmongOthers = (credential: Credential): Effect.Effect<ReadonlyArray<Attempt>, SshErrorReason> =>
  Effect.catchTag(
    attemptsOf(credential),
    "AgentUnavailable",
    ({ detail }) => Effect.succeed([hopeless(credential._tag === "Agent" ? credential.agent.name : "agent", detail)])
  )

/** Gets ways to log in ready, before anything is dialled: reads and decrypts keys, asks agents what they have. */
export const prepare = Effect.fnUntraced(function*(
  credentials: ReadonlyArray<Credential>
): Effect.fn.Return<ReadonlyArray<Attempt>, SshErrorReason> {
  const attempts = yield* Effect.forEach(credentials, credentials.length === 1 ? attemptsOf : attemptsOfOneAmongOthers)
  // who answers questions does it better than a password
  const isAnswered = credentials.some(({ _tag }) => _tag === "KeyboardInteractive")
  return attempts.flat().filter(({ insteadOf }) => insteadOf === undefined || !isAnswered)
})

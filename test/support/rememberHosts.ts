/** Meets hosts for the first time: `rememberHosts.ts FILE NAME COUNT`. */
import * as Effect from "effect/Effect"
import { hostKey } from "../../src/internal/ssh/hostKeys/publicKey.ts"
import * as HostKeys from "../../src/services/HostKeys.ts"
import { publicKeys } from "./publicKeys.ts"

const [, , file = "", name = "", count = "0"] = process.argv
const key = hostKey(Buffer.from(publicKeys.ed25519.split(" ")[1]!, "base64"))
const hostKeys = HostKeys.acceptNew({ files: [file] })

const meet = Effect.fnUntraced(function*(host: string) {
  const { proved, verify } = yield* hostKeys.check({ host, port: 22 })
  yield* verify(key)
  yield* proved(key)
})

const hosts = Array.from({ length: Number(count) }, (_, index) => `${name}-${index}`)
await Effect.runPromise(Effect.forEach(hosts, meet, { discard: true }))

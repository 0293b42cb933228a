/** A user of this system with a password, for the servers that check system users. Removed with the scope. */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Crypto from "node:crypto"
import { folder, PeerError, run } from "./peer.ts"

const useradd = { command: "/usr/sbin/useradd", package: "passwd" }
const userdel = { command: "/usr/sbin/userdel", package: "passwd" }

/** Creating users takes root. The password has a space and a letter that is not ASCII. */
export const loginUser = Effect.gen(function*() {
  if (process.getuid?.() !== 0) {
    return yield* new PeerError({
      peer: "login user",
      detail: "only root can create one; run this as root",
      output: ""
    })
  }
  const random = () => Crypto.randomBytes(4).toString("hex")
  const username = `hawser-${random()}`
  const password = `p4ss wörd! ${random()}`
  const home = yield* folder("home")
  const hash = yield* run({ command: "openssl", package: "openssl" }, ["passwd", "-6", password])
  yield* Effect.acquireRelease(
    run(useradd, ["-M", "-d", home, "-s", "/bin/bash", "-p", hash, username]),
    // it refuses while a process of the user is still ending
    () =>
      run(userdel, [username]).pipe(Effect.retry({ times: 20, schedule: Schedule.spaced("100 millis") }), Effect.ignore)
  )
  yield* run({ command: "chown", package: "coreutils" }, [`${username}:`, home])
  return { username, password, home }
})

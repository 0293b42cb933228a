/**
 * A program of its own, so that its memory can be measured: reads a long output of a command as a stream, first slowly and then
 * as fast as it comes, and prints how much it was and how much memory that took.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Dialer from "../../../src/services/Dialer.ts"
import * as HostKeys from "../../../src/services/HostKeys.ts"
import * as Ssh from "../../../src/services/Ssh.ts"
import * as SshAuth from "../../../src/services/SshAuth.ts"

const mebibyte = 1024 * 1024
/** How much is read before the memory at rest is measured, and how much of that slowly. */
const warmUp = 64 * mebibyte
const slow = 8 * mebibyte

const program = Effect.gen(function*() {
  const ssh = yield* Ssh.Ssh
  const session = yield* ssh.connect({
    host: "127.0.0.1",
    port: yield* Config.Port("PORT"),
    username: yield* Config.String("USERNAME"),
    auth: SshAuth.privateKey({ key: yield* Config.String("KEY") }),
    hostKeys: HostKeys.fingerprint(yield* Config.String("FINGERPRINT"))
  })
  const { stdout } = yield* session.exec(`head -c ${yield* Config.String("BYTES")} /dev/zero`)
  let bytes = 0
  let atRest = 0
  let most = 0
  yield* Stream.runForEach(stdout, (chunk) => {
    bytes += chunk.length
    const { rss } = process.memoryUsage()
    if (bytes < warmUp) atRest = Math.max(atRest, rss)
    most = Math.max(most, rss)
    return bytes < slow ? Effect.sleep("1 millis") : Effect.void
  })
  process.stdout.write(JSON.stringify({ bytes, atRest, most }))
})

Effect.runFork(Effect.provide(Effect.scoped(program), Ssh.layer.pipe(Layer.provide(Dialer.layer))))

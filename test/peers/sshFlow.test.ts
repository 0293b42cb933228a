import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import { OpenSsh, sshSettings } from "./support/openssh.ts"
import { run, services } from "./support/peer.ts"
import { sshdWith } from "./support/sshdWith.ts"

const mebibyte = 1024 * 1024

const Measured = Schema.fromJsonString(
  Schema.Struct({ bytes: Schema.Int, atRest: Schema.Int, most: Schema.Int })
)

const peers = Layer.mergeAll(OpenSsh.layer, Ssh.layer.pipe(Layer.provide(Dialer.layer)), services)

layer(peers, { excludeTestServices: true, timeout: "120 seconds" })("The output of a command on OpenSSH", (it) => {
  it.effect("takes no more memory however long it is", () =>
    Effect.gen(function*() {
      const { fingerprint, keys } = yield* OpenSsh
      // without the new keys that the other server wants after every MiB
      const { settings } = yield* sshdWith("")
      const bytes = 2048 * mebibyte
      const output = yield* run(
        { command: process.execPath, package: "nodejs" },
        ["test/peers/support/longOutput.ts"],
        {
          env: {
            PORT: `${settings.port}`,
            USERNAME: settings.username,
            KEY: keys.ed25519,
            FINGERPRINT: fingerprint,
            BYTES: `${bytes}`
          },
          extendEnv: true
        }
      )
      const measured = yield* Schema.decodeEffect(Measured)(output.slice(output.lastIndexOf("{")))
      assert.strictEqual(measured.bytes, bytes)
      assert.isBelow(measured.most - measured.atRest, 96 * mebibyte, JSON.stringify(measured))
    }))

  it.effect("waits in the command while nobody reads it", () =>
    Effect.gen(function*() {
      const ssh = yield* Ssh.Ssh
      const session = yield* ssh.connect(yield* sshSettings())
      const { stderr, stdout } = yield* session.exec("echo $$ >&2; exec head -c 33554432 /dev/zero")
      const pid = Option.getOrThrow(yield* Stream.runHead(Stream.decodeText(stderr))).trim()
      // a word of the system about how much it has written so far, once it writes no more
      const written = session.execute(`sleep 0.1; sed -n 's/wchar: //p' /proc/${pid}/io`)
      const settled = yield* Effect.map(written, ({ text }) => Number(text)).pipe(
        Effect.flatMap((first) => Effect.map(written, ({ text }) => [first, Number(text)] as const)),
        Effect.repeat({ until: ([before, after]) => before === after && before > 0 })
      )
      // the window of the channel, and what sshd and the systems hold between here and there
      assert.isBelow(settled[1], 16 * mebibyte)
      assert.strictEqual(yield* Stream.runFold(stdout, () => 0, (sum, { length }) => sum + length), 32 * mebibyte)
    }))
})

import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { directReads } from "../../../src/internal/net/directReads.ts"
import { isNative } from "../../../src/internal/ssh/ssh2.ts"
import * as Dialer from "../../../src/services/Dialer.ts"
import * as Ssh from "../../../src/services/Ssh.ts"
import type * as SshSettings from "../../../src/services/SshSettings.ts"
import { leavesNothing } from "../../support/leaks.ts"
import { networks } from "../../support/network.ts"
import { temporaryFolder } from "../../support/servers.ts"
import { sshServer } from "../../support/ssh.ts"

const pattern = Buffer.alloc(700_001, "0123456789abcdefghijklmnopqrstuvw")

/** A session whose socket can be looked at. */
const connected = Effect.fnUntraced(function*(
  changes: Partial<SshSettings.SshSettings> = {},
  options: Parameters<typeof sshServer>[0] = {}
) {
  const { settings, ...server } = yield* sshServer(options)
  const { dial, ...dialer } = yield* Dialer.Dialer
  const reads: Array<ReturnType<typeof directReads>> = []
  const watched = Dialer.Dialer.of({
    ...dialer,
    dial: (...args) => Effect.tap(dial(...args), (duplex) => Effect.sync(() => reads.push(directReads(duplex))))
  })
  const session = yield* Ssh.make(watched).connect({ ...settings, ...changes })
  return { server, session, isLent: () => reads[0]?.sink !== undefined }
})

const onLoopback = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  leavesNothing(Effect.scoped(effect).pipe(Effect.provide(networks["on loopback"]())))

const gcm: SshSettings.Algorithms = { cipher: ["aes128-gcm@openssh.com"] }

describe("packets", () => {
  it.live("are lent to ssh2 where its native part decrypts AES-GCM, and nowhere else", () =>
    onLoopback(Effect.gen(function*() {
      const lent = yield* connected({ algorithms: gcm })
      yield* lent.session.execute("echo in")
      assert.strictEqual(lent.isLent(), isNative() === true)
      for (const cipher of ["chacha20-poly1305@openssh.com", "aes128-ctr"]) {
        const own = yield* connected({ algorithms: { cipher: [cipher] } })
        assert.strictEqual((yield* own.session.execute("cat", { stdin: "kept" })).text, "kept")
        assert.isFalse(own.isLent())
      }
    })))

  for (const fragment of [undefined, 3, 1000, 33_000]) {
    const pieces = fragment === undefined ? "as they come" : `in pieces of ${fragment} bytes`
    it.live(
      `bring everything unharmed ${pieces}, also while keys are exchanged`,
      () =>
        onLoopback(Effect.gen(function*() {
          const root = yield* temporaryFolder
          const { server, session } = yield* connected(
            { algorithms: gcm, rekey: { bytes: 150_000 } },
            { sftp: { root }, ...(fragment === undefined ? {} : { fragment }) }
          )
          const size = fragment === 3 ? 40_000 : pattern.length
          const bytes = pattern.subarray(0, size)
          // what is kept, what is streamed, what is a stream of Node's and what is a file
          const all = yield* Effect.all([
            Effect.map(session.execute("cat", { stdin: bytes }), ({ stdout }) => stdout),
            Effect.gen(function*() {
              const process = yield* session.exec("cat")
              yield* Effect.forkScoped(Stream.run(Stream.succeed(bytes), process.stdin))
              return Buffer.concat(yield* Stream.runCollect(process.stdout))
            }),
            Effect.gen(function*() {
              const sftp = yield* session.sftp
              yield* sftp.writeFile("/file", bytes)
              assert.strictEqual((yield* sftp.readDirectory("/")).length, 1)
              return yield* sftp.readFile("/file")
            })
          ], { concurrency: "unbounded" })
          for (const one of all) assert.strictEqual(Buffer.compare(one, bytes), 0)
          if (size > 150_000) assert.isAbove(server.rekeys(), 1)
        })),
      30_000
    )
  }
})

import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Fs from "node:fs"
import * as Dialer from "../../src/services/Dialer.ts"
import * as HostKeys from "../../src/services/HostKeys.ts"
import { decidedBySsh, decidedByUs, fileOf, HostKeyServers } from "./support/hostKeyServers.ts"
import { knownHostsTable } from "./support/knownHostsTable.ts"
import { services } from "./support/peer.ts"
import { sshKeygen } from "./support/sshd.ts"

/** `ssh-keygen -H` as a function: it hashes a file in place and keeps the old one beside it. */
const hashed = Effect.fnUntraced(function*(lines: string) {
  const [file] = yield* fileOf([lines])
  yield* Effect.provide(sshKeygen("/")("-H", "-f", file!), services)
  return Fs.readFileSync(file!, "utf8")
})

const peers = Layer.mergeAll(HostKeyServers.layer, Dialer.layer)

for (const [about, rows] of Object.entries(knownHostsTable)) {
  layer(peers, { excludeTestServices: true, timeout: "60 seconds" })(
    `Known hosts as ssh knows them: ${about}`,
    (it) => {
      for (const row of rows) {
        it.effect(`${row.title}: ${row.ssh}${row.ours === undefined ? "" : `, here ${row.ours.join(", ")}`}`, () =>
          Effect.scoped(Effect.gen(function*() {
            const { keys, portOf } = yield* HostKeyServers
            // a first pass gathers what is to be hashed
            const toHash = new Map<string, string>()
            const collect = (lines: string) => (toHash.set(lines, ""), lines)
            row.files({ keys, port: portOf(row), hash: collect })
            for (const lines of toHash.keys()) toHash.set(lines, yield* hashed(lines))
            const contents = row.files({ keys, port: portOf(row), hash: (lines) => toHash.get(lines)! })
            const files = yield* fileOf(typeof contents === "string" ? [contents] : contents)
            assert.strictEqual(yield* decidedBySsh(row, { files }), row.ssh, "ssh")
            assert.strictEqual(
              yield* decidedByUs(row, HostKeys.knownHosts({ files })),
              row.ours?.[0] ?? row.ssh,
              "ours"
            )
          })))
      }
    }
  )
}

import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Fs from "node:fs"
import * as Dialer from "../../src/services/Dialer.ts"
import * as HostKeys from "../../src/services/HostKeys.ts"
import {
  connectWith,
  type Decided,
  decidedBySsh,
  decidedByUs,
  fileOf,
  HostKeyServers
} from "./support/hostKeyServers.ts"
import { knownHostsTable } from "./support/knownHostsTable.ts"
import { run, services } from "./support/peer.ts"
import { sshKeygen } from "./support/sshd.ts"

/** `ssh-keygen -H` as a function: it hashes a file in place and keeps the old one beside it. */
const hashed = Effect.fnUntraced(function*(lines: string) {
  const [file] = yield* fileOf([lines])
  yield* Effect.provide(sshKeygen("/")("-H", "-f", file!), services)
  return Fs.readFileSync(file!, "utf8")
})

const peers = Layer.mergeAll(HostKeyServers.layer, Dialer.layer)

layer(peers, { excludeTestServices: true, timeout: "60 seconds" })("Known hosts as ssh knows them", (it) => {
  for (const [about, rows] of Object.entries(knownHostsTable)) {
    for (const row of rows) {
      const ours = row.ours === undefined ? "" : `, here ${row.ours.join(", ")}`
      it.effect(`${about}: ${row.title}: ${row.ssh}${ours}`, () =>
        Effect.scoped(Effect.gen(function*() {
          const { keys, portOf } = yield* HostKeyServers
          const contentsWith = (hash: (lines: string) => string) => row.files({ keys, port: portOf(row), hash })
          // a first pass gathers what is to be hashed
          const hashes = new Map<string, string>()
          contentsWith((lines) => (hashes.set(lines, lines), lines))
          for (const lines of hashes.keys()) hashes.set(lines, yield* hashed(lines))
          const contents = contentsWith((lines) => hashes.get(lines)!)
          const files = yield* fileOf(typeof contents === "string" ? [contents] : contents)
          const decided = yield* Effect.all({
            ssh: decidedBySsh(row, { files }),
            ours: decidedByUs(row, HostKeys.knownHosts({ files }))
          }, { concurrency: 2 })
          assert.deepStrictEqual(decided, { ssh: row.ssh, ours: row.ours?.[0] ?? row.ssh })
        })))
    }
  }
})

layer(Layer.merge(peers, services), { excludeTestServices: true, timeout: "60 seconds" })(
  "Host keys of OpenSSH",
  (it) => {
    const meeting = { host: "db.test" }

    /** A name at the port that our server is asked for. */
    const named = Effect.map(HostKeyServers, ({ keys, portOf }) => ({ keys, name: `[db.test]:${portOf(meeting)}` }))

    it.effect("are accepted when they are new as ssh does it, and written as ssh writes them", () =>
      Effect.gen(function*() {
        const { keys, name } = yield* named
        const table: ReadonlyArray<readonly [title: string, lines: string, decided: Decided]> = [
          ["nothing", "", "accepted"],
          ["others", `web ${keys.ed25519}\n`, "accepted"],
          ["the host", `${name} ${keys.ed25519}\n`, "accepted"],
          ["the host without its port", `db.test ${keys.ed25519}\n`, "accepted"],
          ["another key of the host without its port", `db.test ${keys.otherEd25519}\n`, "accepted"],
          ["another key", `${name} ${keys.otherEd25519}\n`, "changed"],
          ["a key of a type that it shows as well", `${name} ${keys.ecdsa}\n`, "accepted"],
          ["a revoked key", `@revoked * ${keys.ed25519}\n`, "revoked"],
          ["a line that cannot be understood", `${name} ${keys.ed25519.slice(0, -1)}\n`, "accepted"]
        ]
        for (const [title, lines, decided] of table) {
          const [theirs, ours] = yield* fileOf([lines, lines])
          assert.strictEqual(yield* decidedBySsh(meeting, { files: [theirs!], checking: "accept-new" }), decided, title)
          assert.strictEqual(yield* decidedByUs(meeting, HostKeys.acceptNew({ files: [ours!] })), decided, title)
          assert.strictEqual(Fs.readFileSync(ours!, "utf8"), Fs.readFileSync(theirs!, "utf8"), title)
        }
      }))

    it.effect("are found by ssh where we have written them, also with a hashed name", () =>
      Effect.gen(function*() {
        for (const hash of [false, true]) {
          const [file] = yield* fileOf(["# first"])
          assert.strictEqual(yield* decidedByUs(meeting, HostKeys.acceptNew({ files: [file!], hash })), "accepted")
          assert.strictEqual(yield* decidedBySsh(meeting, { files: [file!] }), "accepted")
          const { name } = yield* named
          assert.include(yield* sshKeygen("/")("-F", name, "-f", file!), "found: line 2")
        }
      }))

    it.effect("that have changed are accepted once the advice was followed", () =>
      Effect.gen(function*() {
        const { keys, name } = yield* named
        const [plain, other] = yield* fileOf([
          `web ${keys.rsa}\n${name} ${keys.otherEd25519}\n`,
          `web ${keys.rsa}\n${name} ${keys.otherEd25519}\n`
        ])
        yield* sshKeygen("/")("-q", "-H", "-f", other!)
        for (const file of [plain!, other!]) {
          const hostKeys = HostKeys.acceptNew({ files: [file] })
          const reason = yield* connectWith(meeting, hostKeys)
          assert.deepNestedInclude(reason, { "_tag": "HostKeyRejected", "known.file": file, "known.line": 2 })
          const advice = /remove the old one: (.*)$/.exec(reason.message)![1]!
          yield* run({ command: "sh", package: "dash" }, ["-c", advice])
          assert.strictEqual(yield* decidedByUs(meeting, hostKeys), "accepted")
        }
      }))

    it.effect("are refused where a file of revoked keys has them, as ssh refuses them", () =>
      Effect.gen(function*() {
        const { folder, keys, keygen } = yield* HostKeyServers
        const { name } = yield* named
        const [known, list, others, nonsense, spec] = yield* fileOf([
          `${name} ${keys.ed25519}\n`,
          `# stolen\n${keys.rsa}\n${keys.ed25519} x\n`,
          `${keys.otherEd25519}\n`,
          "nonsense\n",
          `sha256: ${keys.ed25519}\n`
        ])
        const made = (name: string, ...args: ReadonlyArray<string>) =>
          Effect.as(keygen("-q", "-k", "-f", name, ...args), `${folder}/${name}`)
        const table: ReadonlyArray<readonly [file: string, decided: Decided]> = [
          [list!, "revoked"],
          [others!, "accepted"],
          [nonsense!, "failed"],
          [`${folder}/not-there`, "failed"],
          [yield* made("krl_keys", "rsa.pub", "ed25519.pub"), "revoked"],
          [yield* made("krl_others", "other_ed25519.pub"), "accepted"],
          [yield* made("krl_hashes", spec!), "revoked"],
          [yield* made("krl_certificates", "-s", "ca", "ed25519-cert.pub"), "accepted"]
        ]
        for (const [file, decided] of table) {
          assert.strictEqual(yield* decidedBySsh(meeting, { files: [known!], revoked: file }), decided, file)
          const hostKeys = HostKeys.withRevoked(HostKeys.knownHosts({ files: [known!] }), file)
          assert.strictEqual(yield* decidedByUs(meeting, hostKeys), decided, file)
        }
      }))

    it.effect("are looked up in the files of the user and those of the system", () =>
      Effect.gen(function*() {
        const { keys, name } = yield* named
        const table: ReadonlyArray<readonly [user: string, system: string, decided: Decided]> = [
          ["", `${name} ${keys.ed25519}\n`, "accepted"],
          [`${name} ${keys.otherEd25519}\n`, `${name} ${keys.ed25519}\n`, "accepted"],
          [`${name} ${keys.ed25519}\n`, `@revoked * ${keys.ed25519}\n`, "revoked"],
          ["", `${name} ${keys.otherEd25519}\n`, "changed"]
        ]
        for (const contents of table) {
          const [user, system] = yield* fileOf(contents.slice(0, 2))
          assert.strictEqual(yield* decidedBySsh(meeting, { files: [user!], globalFiles: [system!] }), contents[2])
          assert.strictEqual(
            yield* decidedByUs(meeting, HostKeys.knownHosts({ files: [user!, system!, "/not/there"] })),
            contents[2]
          )
        }
      }))

    it.effect("are accepted by the certificate's key, and refused with the reason where only its authority is known", () =>
      Effect.gen(function*() {
        const { keys, ports } = yield* HostKeyServers
        const certified = { server: "certified", host: "certified.test" } as const
        const reason = yield* connectWith(certified, HostKeys.fromText(`@cert-authority *.test ${keys.ca}`))
        assert.deepInclude(reason, { _tag: "Unsupported", feature: "host certificate" })
        assert.include(reason.message, `[certified.test]:${ports.certified}`)
        const shown = /SHA256:\S+/.exec(reason.message)![0]
        assert.strictEqual(yield* decidedByUs(certified, HostKeys.fingerprint(shown)), "accepted")
      }))
  }
)

import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as ChildProcess from "effect/process/ChildProcess"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as HostNames from "../../src/internal/ssh/hostKeys/hostNames.ts"
import * as KnownHosts from "../../src/internal/ssh/hostKeys/knownHosts.ts"
import { fingerprint } from "../../src/internal/ssh/hostKeys/publicKey.ts"
import { publicKeys } from "../support/publicKeys.ts"
import { fileOf } from "./support/hostKeyServers.ts"
import { services } from "./support/peer.ts"

const host = "[db.test]:2222"
const { certificate: _, ...plain } = publicKeys
const keys = Object.values(plain)
const broken = keys.flatMap((key) => [key.slice(0, -1), key.slice(0, -4), `${key}=`, key.replace("ssh-", "SSH-")])

const Pattern = Schema.Literals([
  host,
  "*",
  "[D?.*]:2222",
  "*2222",
  "?db*",
  "[db.test]:2222?",
  "db.test",
  "web",
  "!web",
  "![db.test]:2*",
  "",
  "!",
  "@db",
  "#",
  "|1|",
  "\r",
  HostNames.hashed(host),
  HostNames.hashed("web")
])

const Line = Schema.Struct({
  mark: Schema.Literals(["", "", "", "", "@revoked ", "@cert-authority \t", "@revoked\t", "@other ", "@ ", " \t", "#"]),
  first: Pattern,
  more: Schema.Array(Pattern).check(Schema.isMaxLength(3)),
  separator: Schema.Literals([" ", " ", "\t", " \t ", " #", "\v", ""]),
  key: Schema.Literals([...keys, ...keys, ...keys, ...broken, "", "ssh-ed25519"]),
  tail: Schema.Literals(["", "\r", " comment", "\t#", " \r", "\0 x"])
})

/** Numbers, marks and fingerprints of the lines about the host, as `ssh-keygen -l -F` prints them. */
const foundByOpenSsh = Effect.fnUntraced(function*(file: string) {
  const handle = yield* ChildProcess.make("ssh-keygen", ["-l", "-F", host, "-f", file], { stdin: "ignore" })
  const output = yield* Stream.mkString(Stream.decodeText(handle.stdout))
  const found = output.matchAll(/^# Host .* found: line (\d+) (CA|REVOKED)?\n\S+ \S+ (\S+)/gm)
  return [...found].map(([, line, mark, fingerprint]) => [Number(line), mark ?? "", fingerprint])
})

const marks = { "revoked": "REVOKED", "cert-authority": "CA" }

describe("Lines of known hosts", () => {
  it.live.prop(
    "are about a host when ssh-keygen finds it in them",
    { lines: Schema.Array(Line).check(Schema.isMinLength(100), Schema.isMaxLength(100)) },
    ({ lines }) =>
      Effect.gen(function*() {
        const text = lines.map(({ first, key, mark, more, separator, tail }) =>
          `${mark}${[first, ...more].join(",")}${separator}${key}${tail}\n`
        ).join("")
        const [file] = yield* fileOf([text])
        const ours = KnownHosts.about(KnownHosts.parse(Buffer.from(text), { name: file!, isFile: true }), host)
        assert.deepStrictEqual(
          ours.map((
            { key, line, marker }
          ) => [line, marker === undefined ? "" : marks[marker], fingerprint(key.bytes)]),
          yield* foundByOpenSsh(file!)
        )
      }).pipe(Effect.scoped, Effect.provide(services)),
    { arbitrary: { runs: 50 } }
  )
})

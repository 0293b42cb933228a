import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { here, type Machine } from "../../../../src/internal/ssh/config/machine.ts"
import { resolve } from "../../../../src/internal/ssh/config/resolve.ts"
import { temporaryFolder } from "../../../support/servers.ts"

/** A machine whose files are in a folder of the test's. */
const machineIn = Effect.fnUntraced(function*(files: Readonly<Record<string, string>>) {
  const root = yield* temporaryFolder
  for (const [name, text] of Object.entries(files)) {
    const path = Path.join(root, name)
    Fs.mkdirSync(Path.dirname(path), { recursive: true })
    Fs.writeFileSync(path, text, { mode: 0o600 })
  }
  const machine: Machine = {
    hostname: "here.test",
    username: "joe",
    uid: process.getuid?.() ?? -1,
    home: Path.join(root, "home"),
    environment: { HOST: "web", DIR: "conf.d" },
    systemFile: Path.join(root, "etc/ssh_config"),
    systemFolder: Path.join(root, "etc")
  }
  return { machine, root }
})

const read = Effect.fnUntraced(function*(files: Readonly<Record<string, string>>, host = "web") {
  const { machine } = yield* machineIn(files)
  return yield* resolve(host, { machine })
})

const config = "home/.ssh/config"

describe("the files of ssh_config", () => {
  it.live("are the user's and then that of the system, and need not be there", () =>
    Effect.gen(function*() {
      assert.deepInclude(yield* read({}), { hostname: "web", port: 22, username: "joe" })
      const both = yield* read({ [config]: "Port 1\n", "etc/ssh_config": "Port 2\nUser system\nIdentityFile ~/s\n" })
      assert.deepInclude(both, { port: 1, username: "system" })
      assert.isTrue(both.identityFiles[0]?.endsWith("/home/s"))
      assert.isTrue(both.placeOf("user")?.file.endsWith("etc/ssh_config"))
    }))

  it.live("include others, which are beside them", () =>
    Effect.gen(function*() {
      const { port, username, values } = yield* read({
        [config]: "Include ${DIR}/%n.conf conf.d/*.more nothing/*\n",
        "home/.ssh/conf.d/web.conf": "Port 1\n",
        "home/.ssh/conf.d/b.more": "User b\n",
        "home/.ssh/conf.d/a.more": "User a\nInclude conf.d/deeper\n",
        "home/.ssh/conf.d/.hidden.more": "User hidden\n",
        "home/.ssh/conf.d/deeper": "Compression yes\n",
        "etc/ssh_config": "Include system\n",
        "etc/system": "HashKnownHosts yes\n"
      })
      assert.deepInclude({ port, username }, { port: 1, username: "a" })
      assert.deepInclude(values, { compression: ["yes"], hashknownhosts: ["yes"] })
    }))

  it.live("may include a folder or the same file twice, which changes nothing", () =>
    Effect.gen(function*() {
      const { values } = yield* read({
        [config]: "Include conf.d one one\n",
        "home/.ssh/conf.d/x": "Port 9\n",
        "home/.ssh/one": "IdentityFile /a\n"
      })
      assert.deepInclude(values, { identityfile: ["/a"], port: ["22"] })
    }))

  it.live("cannot include each other for ever", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(read({ [config]: "Include config\n" }))
      assert.deepInclude(error, { _tag: "ConfigInvalid", detail: "files include each other too deeply" })
      // sixteen are not too many
      const chain = Object.fromEntries(
        Array.from({ length: 16 }, (_, i) => [`home/.ssh/f${i}`, i === 15 ? "Port 7\n" : `Include f${i + 1}\n`])
      )
      assert.strictEqual((yield* read({ ...chain, [config]: "Include f0\n" })).port, 7)
    }))

  it.live("are refused where others can write to them, or where they cannot be understood", () =>
    Effect.gen(function*() {
      const { machine, root } = yield* machineIn({ [config]: "Include more\n", "home/.ssh/more": "Port 1\n" })
      const file = `${root}/home/.ssh/more`
      Fs.chmodSync(file, 0o602)
      const open = yield* Effect.flip(resolve("web", { machine }))
      assert.deepInclude(open, { _tag: "ConfigInvalid", file, line: 0, detail: "others than its user can write to it" })
      // one that is named for this is what its user wants
      assert.strictEqual((yield* resolve("web", { machine, configFile: file })).port, 1)
      assert.strictEqual((yield* resolve("web", { machine, configFile: "~/.ssh/more" })).port, 1)
      Fs.chmodSync(file, 0o600)
      Fs.writeFileSync(file, "Port 1\n\nInclude ~bob/x\n")
      const unknown = yield* Effect.flip(resolve("web", { machine }))
      assert.deepInclude(unknown, { _tag: "ConfigInvalid", file, line: 3 })
    }))

  it.live("of the system know nothing of the user's folder", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(read({ "etc/ssh_config": "Port 1\nInclude ~/x\n" }))
      assert.deepInclude(error, { _tag: "ConfigInvalid", line: 2 })
    }))
})

describe("what ssh_config says beyond version 9.2 of OpenSSH", () => {
  it.live("tags, networks, tokens of the user's name", () =>
    Effect.gen(function*() {
      const file = (text: string) => Effect.map(read({ [config]: text }), ({ port, username }) => [port, username])
      assert.deepStrictEqual(yield* file("Tag red\nMatch tagged r*\nPort 1\nMatch tagged blue\nUser no\n"), [1, "joe"])
      assert.deepStrictEqual(yield* file("Match tagged \"\"\nPort 1\n"), [1, "joe"])
      assert.deepStrictEqual(yield* file("User %u-%h\n"), [22, "joe-web"])
      const loopback = Object.values(Os.networkInterfaces()).flat().some((one) => one?.address === "127.0.0.1")
      const networks = "Match localnetwork 192.0.2.0/24,127.0.0.0/8\nPort 1\nMatch localnetwork 192.0.2.7\nUser no\n"
      assert.deepStrictEqual(yield* file(networks), [loopback ? 1 : 22, "joe"])
      for (const bad of ["Match localnetwork home\n", "User a;b-%h\n", "User %r\n"]) {
        assert.strictEqual((yield* Effect.flip(file(bad)))._tag, "ConfigInvalid")
      }
    }))

  it.live("conditions on what the ssh program does hold no more than their contrary", () =>
    Effect.gen(function*() {
      for (const condition of ["version *", "command *", "sessiontype shell", "exec true"]) {
        for (const not of ["", "!"]) {
          assert.strictEqual((yield* read({ [config]: `Match ${not}${condition}\nPort 1\n` })).port, 22)
        }
      }
    }))
})

const plainLines = [
  "Host *",
  "Host web",
  "Host !web *",
  "Match user bob",
  "Match host alias",
  "Match originalhost web",
  "Port 1",
  "Port 2",
  "User bob",
  "User eve",
  "HostName alias",
  "Compression yes",
  "IdentityFile /a",
  "IdentityFile /b",
  "LocalForward 80 a:1",
  "LocalForward 81 b:2",
  "ProxyJump gate",
  "ProxyCommand nc",
  "RekeyLimit 1G",
  "SetEnv A=1",
  "SetEnv A=2 B=3",
  "ConnectTimeout none",
  "ConnectTimeout 5"
]
const Text = Schema.Array(Schema.Literals(plainLines)).check(Schema.isMaxLength(10))
const accumulating = new Set(["identityfile", "localforward"])

describe("laws of ssh_config", () => {
  it.live.prop(
    "what is written first stays, whatever follows",
    { one: Text, more: Text },
    ({ more, one }) =>
      Effect.scoped(Effect.gen(function*() {
        const text = one.join("\n")
        const alone = yield* read({ [config]: text })
        const together = yield* read({ [config]: `${text}\nHost *\n${more.join("\n")}` })
        for (const [keyword, values] of Object.entries(alone.values)) {
          if (alone.placeOf(keyword) === undefined && !accumulating.has(keyword)) continue
          const now = together.values[keyword] ?? []
          if (!accumulating.has(keyword)) assert.deepStrictEqual(now, values, keyword)
          else if (alone.placeOf(keyword) !== undefined) assert.deepStrictEqual(now.slice(0, values.length), values)
        }
      })),
    { arbitrary: { runs: 80 }, timeout: 60_000 }
  )

  it.live.prop(
    "a file that says the same twice says no more",
    { one: Text },
    ({ one }) =>
      Effect.scoped(Effect.gen(function*() {
        const text = one.filter((line) => !/^(?:Match|Host) /.test(line)).join("\n")
        const { machine, root } = yield* machineIn({ once: text, twice: `${text}\nHost *\n${text}` })
        const once = yield* resolve("web", { machine, configFile: `${root}/once` })
        const twice = yield* resolve("web", { machine, configFile: `${root}/twice` })
        assert.deepStrictEqual(twice.values, once.values)
      })),
    { arbitrary: { runs: 60 }, timeout: 60_000 }
  )

  it.live.prop(
    "no text makes it throw: it is read, or refused with the line",
    { text: Schema.String, lines: Schema.Array(Schema.Union([Schema.Literals(plainLines), Schema.String])) },
    ({ lines, text }) =>
      Effect.scoped(Effect.gen(function*() {
        for (const content of [text, lines.join("\n"), lines.map((line) => `Host ${line}`).join("\n")]) {
          const { machine, root } = yield* machineIn({ [config]: content })
          const result = yield* Effect.result(resolve("web", { machine }))
          if (Result.isSuccess(result)) continue
          assert.deepInclude(result.failure, { _tag: "ConfigInvalid", file: `${root}/${config}` })
          assert.isAbove(result.failure.line, 0)
        }
      })),
    { arbitrary: { runs: 80 }, timeout: 60_000 }
  )
})

describe("this machine", () => {
  it.effect("is known by the system's list of users", () =>
    Effect.gen(function*() {
      const machine = yield* here()
      assert.strictEqual(machine.username, Os.userInfo().username)
      assert.strictEqual(machine.home, Os.userInfo().homedir)
      assert.strictEqual(machine.environment, process.env)
    }))
})

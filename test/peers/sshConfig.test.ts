/** The reading of ssh_config, held to what OpenSSH's own client makes of the same texts. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import type { HostConfig } from "../../src/internal/ssh/config/hostConfig.ts"
import { here } from "../../src/internal/ssh/config/machine.ts"
import * as NameList from "../../src/internal/ssh/config/nameList.ts"
import { resolve } from "../../src/internal/ssh/config/resolve.ts"
import { temporaryFolder } from "../support/servers.ts"
import { loginUser } from "./support/loginUser.ts"
import { services } from "./support/peer.ts"
import { mistakes, type Sample, samples } from "./support/sshConfigs.ts"

const environment = { ...process.env, SAMPLE: "sample", LC_ALL: "C", SHELL: "/bin/sh" }

/** Everything that means something here. The others are only kept. */
const honoured =
  `batchmode canonicalizehostname certificatefile ciphers clearallforwardings compression connectionattempts connecttimeout
  controlpath dynamicforward exitonforwardfailure forwardagent globalknownhostsfile hashknownhosts host hostkeyalgorithms
  hostkeyalias hostname identitiesonly identityagent identityfile kbdinteractiveauthentication kexalgorithms localforward macs
  passwordauthentication port preferredauthentications proxycommand proxyjump proxyusefdpass pubkeyacceptedalgorithms
  pubkeyauthentication rekeylimit remotecommand remoteforward requesttty revokedhostkeys sendenv serveralivecountmax
  serveraliveinterval sessiontype setenv stricthostkeychecking user userknownhostsfile`.split(/\s+/)

type Values = Record<string, ReadonlyArray<string>>

const run = (command: string, args: ReadonlyArray<string>) => {
  const { status, stderr, stdout } = ChildProcess.spawnSync(command, args, { env: environment, encoding: "utf8" })
  return { ok: status === 0, stderr, stdout }
}

const parseDump = (text: string): Values => {
  const values: Record<string, Array<string>> = {}
  for (const line of text.split("\n")) {
    const [, keyword, value] = /^(\S+) (.*)$/.exec(line) ?? []
    if (keyword !== undefined && value !== undefined) (values[keyword.toLowerCase()] ??= []).push(value)
  }
  // a forwarding to a socket is printed as a dynamic one too
  const toSockets = (values["localforward"] ?? []).filter((line) => line.includes(" /"))
  const dynamic = (values["dynamicforward"] ?? []).filter((line) =>
    !toSockets.some((one) => one.startsWith(`${line} `))
  )
  return { ...values, dynamicforward: dynamic }
}

/** `ssh -G` prints some flags in the words of before. */
const words: Record<string, (value: string) => string> = {
  canonicalizehostname: (value) => ({ true: "yes", false: "no" })[value] ?? value,
  pubkeyauthentication: (value) => ({ true: "yes", false: "no" })[value] ?? value,
  requesttty: (value) => ({ true: "yes", false: "no" })[value] ?? value,
  stricthostkeychecking: (value) => ({ true: "yes", false: "no" })[value] ?? value,
  proxyjump: (value) => value.replaceAll(/\[([\d.]+)\]/g, "$1").replaceAll("ssh://", "")
}

const query = (name: string) => run("ssh", ["-Q", name]).stdout.trim().split("\n")
const nothing = parseDump(run("ssh", ["-G", "-F", "/dev/null", "web"]).stdout)

const namesOf = Object.fromEntries(
  [["ciphers", "cipher"], ["macs", "mac"], ["kexalgorithms", "kex"], ["hostkeyalgorithms", "HostKeyAlgorithms"], [
    "pubkeyacceptedalgorithms",
    "PubkeyAcceptedAlgorithms"
  ]].map(([keyword = "", name = ""]) => [keyword, {
    defaults: (nothing[keyword]?.[0] ?? "").split(","),
    supported: query(name)
  }])
)

const comparable = (values: Values, isOurs: boolean): Record<string, string> =>
  Object.fromEntries(honoured.map((keyword) => {
    const lines = values[keyword] ?? []
    const list = namesOf[keyword]
    if (isOurs && list !== undefined) {
      return [keyword, lines[0] === undefined ? list.defaults.join(",") : NameList.expand(lines[0], list).join(",")]
    }
    return [keyword, lines.map((line) => isOurs ? line : words[keyword]?.(line) ?? line).join(" ")]
  }))

const write = (directory: string, { config, files = {} }: Pick<Sample, "config" | "files">) => {
  for (const [name, text] of Object.entries({ ...files, config })) {
    Fs.writeFileSync(Path.join(directory, name), text.replaceAll("{dir}", directory), { mode: 0o600 })
  }
  return Path.join(directory, "config")
}

const ours = Effect.fnUntraced(function*(configFile: string, destination: string) {
  const machine = yield* here(environment)
  const [username, host = ""] = destination.includes("@") ? destination.split("@") : [undefined, destination]
  return yield* resolve(host, { machine, configFile, username, matchExec: true })
})

describe("ssh_config results equal to `ssh -G` on a table of configs", () => {
  for (const sample of samples) {
    it.live(sample.title, () =>
      Effect.gen(function*() {
        const directory = yield* temporaryFolder
        const file = write(directory, sample)
        const host = sample.host ?? "web"
        const theirs = run("ssh", ["-G", "-F", file, host])
        assert.isTrue(theirs.ok, theirs.stderr)
        const config: HostConfig = yield* ours(file, host)
        assert.deepStrictEqual(comparable(config.values, true), comparable(parseDump(theirs.stdout), false))
        assert.isFalse(Fs.existsSync(`${directory}/never`))
      }))
  }

  it("which is long enough", () => {
    assert.isAtLeast(samples.length, 40)
  })
})

/** Lines that mean much to each other, for texts that nobody has thought of. */
const lines = [
  "Host *",
  "Host web",
  "Host db",
  "Host w* !web",
  "Host !db *",
  "Match all",
  "Match final",
  "Match host web",
  "Match host *.example.com",
  "Match originalhost web user bob",
  "Match !user bob",
  "Match user root localuser root",
  "Match final host alias",
  "Include {dir}/one",
  "Include {dir}/[ot]*",
  "  HostName %h.example.com",
  "  HostName alias",
  "  Port 1",
  "\tPort=2",
  "  User bob",
  "  User \"alice\"",
  "  IdentityFile ~/a",
  "  IdentityFile /b/%h",
  "  CertificateFile /c",
  "  SendEnv A B",
  "  SendEnv -A",
  "  SetEnv A=1",
  "  SetEnv B=2 C=3",
  "  LocalForward 80 web:80",
  "  LocalForward 81 [::1]:80",
  "  RemoteForward 82 web:80",
  "  DynamicForward 83",
  "  UserKnownHostsFile /%h/%p/%r /x",
  "  ProxyJump gate",
  "  ProxyJump none",
  "  ProxyCommand nc %h",
  "  ProxyCommand none",
  "  Ciphers +aes128-cbc",
  "  Ciphers -*ctr",
  "  StrictHostKeyChecking no",
  "  ServerAliveInterval 1m",
  "  RekeyLimit 1G 1h",
  "# Port 9"
]

const Text = Schema.Array(Schema.Literals(lines)).check(Schema.isMaxLength(14))

describe("texts by chance", () => {
  it.live.prop(
    "are read as `ssh -G` reads them",
    { config: Text, one: Text, two: Text, host: Schema.Literals(["web", "db", "alias", "bob@web"]) },
    ({ config, host, one, two }) =>
      Effect.gen(function*() {
        // what is included includes nothing, or it would for ever
        const plain = (text: ReadonlyArray<string>) => text.filter((line) => !line.startsWith("Include")).join("\n")
        const files = { one: plain(one), two: plain(two) }
        const file = write(yield* temporaryFolder, { config: config.join("\n"), files })
        const theirs = run("ssh", ["-G", "-F", file, host])
        assert.isTrue(theirs.ok, theirs.stderr)
        assert.deepStrictEqual(
          comparable((yield* ours(file, host)).values, true),
          comparable(parseDump(theirs.stdout), false)
        )
      }),
    { arbitrary: { runs: 200 } }
  )
})

describe("the files of a user", () => {
  it.live("are those of the system's list of users, and what they include is beside them", () =>
    Effect.gen(function*() {
      const { home, username } = yield* loginUser
      const [uid = -1, gid = -1] = ["-u", "-g"].map((option) => Number(run("id", [option, username]).stdout))
      const put = (name: string, text: string, mode = 0o600) => {
        const path = Path.join(home, ".ssh", name)
        Fs.mkdirSync(Path.dirname(path), { recursive: true })
        Fs.writeFileSync(path, text)
        Fs.chmodSync(path, mode)
        Fs.chownSync(path, uid, gid)
        return path
      }
      const file = put("config", "Include conf.d/*.conf ~/.ssh/more\nPort 1\nUserKnownHostsFile ~/a %d/b /%i/%u\n")
      put("conf.d/b.conf", "Port 3\n")
      const included = put("conf.d/a.conf", `Match localuser ${username}\n Port 2\n`)
      put("conf.d/.hidden.conf", "Port 4\n")
      put("conf.d/c", "Port 5\n")
      put("more", "User carol\nIdentityFile ~/.ssh/%r\n")
      const theirs = () => run("runuser", ["-u", username, "--", "ssh", "-G", "web"])
      const machine = { ...(yield* here(environment)), home, uid, username }
      const config = yield* resolve("web", { machine })
      assert.deepStrictEqual(comparable(config.values, true), comparable(parseDump(theirs().stdout), false))
      assert.deepInclude(config, { port: 2, username: "carol", identityFiles: [`${home}/.ssh/carol`] })
      // of the whole system's file
      assert.deepStrictEqual(config.placeOf("hashknownhosts")?.file, "/etc/ssh/ssh_config")

      for (const path of [included, file]) {
        Fs.chmodSync(path, 0o602)
        assert.match(theirs().stderr, /Bad owner or permissions/)
        const error = yield* Effect.flip(resolve("web", { machine }))
        assert.deepInclude(error, { _tag: "ConfigInvalid", file: path, line: 0 })
        Fs.chmodSync(path, 0o600)
      }
    }).pipe(Effect.provide(services)))
})

describe("mistakes that ssh finds", () => {
  for (const sample of mistakes) {
    it.live(`${sample.title} is found in the same line`, () =>
      Effect.gen(function*() {
        const file = write(yield* temporaryFolder, sample)
        const theirs = run("ssh", ["-G", "-F", file, "web"])
        assert.isFalse(theirs.ok)
        assert.match(theirs.stderr, new RegExp(String.raw`line ${sample.line}\b`))
        const error = yield* Effect.flip(ours(file, "web"))
        assert.deepInclude(error, { _tag: "ConfigInvalid", file, line: sample.line })
      }))
  }
})

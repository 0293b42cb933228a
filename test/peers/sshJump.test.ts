/** Jump hosts and commands as ways to servers of OpenSSH, by the configuration files that its own client reads too. */
import { assert, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as ProxyCommand from "../../src/layers/ProxyCommand.ts"
import * as SshTunnel from "../../src/layers/SshTunnel.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import * as SshAuth from "../../src/services/SshAuth.ts"
import * as SshSettings from "../../src/services/SshSettings.ts"
import { closedPort } from "../support/servers.ts"
import { loginUser } from "./support/loginUser.ts"
import { files, folder, run, services, start } from "./support/peer.ts"
import { runSshd, sshKeygen } from "./support/sshd.ts"

const passphrase = "open sesame"

/** Two servers with keys of their own, the first of them at two ports, and a configuration that leads through them. */
const make = Effect.gen(function*() {
  const { username } = yield* loginUser
  const fs = yield* FileSystem.FileSystem
  const users = yield* folder("jump-user")
  const keygen = sshKeygen(users)
  yield* keygen("-q", "-t", "ed25519", "-N", "", "-f", "id")
  yield* keygen("-q", "-t", "ed25519", "-N", passphrase, "-f", "id_locked")
  yield* keygen("-q", "-t", "ed25519", "-N", "", "-f", "ca")
  yield* keygen("-q", "-t", "ed25519", "-N", "", "-f", "id_certified")
  yield* keygen("-q", "-s", "ca", "-I", "somebody", "-n", username, "id_certified.pub")
  // away from its key, so that only the configuration leads to it
  yield* fs.rename(`${users}/id_certified-cert.pub`, `${users}/certificate`)
  const authorized = yield* Effect.forEach(["id", "id_locked"], (name) => fs.readFileString(`${users}/${name}.pub`))
  const server = Effect.fnUntraced(function*(name: string, ports: number) {
    const directory = yield* folder(name)
    yield* sshKeygen(directory)("-q", "-t", "ed25519", "-N", "", "-f", "host")
    yield* files(directory, { authorized_keys: authorized.join("") })
    const sshd = yield* runSshd({
      directory,
      ports,
      config: () =>
        `HostKey ${directory}/host\nAuthorizedKeysFile ${directory}/authorized_keys\nTrustedUserCAKeys ${users}/ca.pub\nAcceptEnv PEER_*\nPasswordAuthentication no\n`
    })
    const key = (yield* fs.readFileString(`${directory}/host.pub`)).split(" ", 2).join(" ")
    return { ...sshd, known: sshd.ports.map((port) => `[127.0.0.1]:${port} ${key}\n`).join("") }
  })
  const gate = yield* server("gate", 2)
  const target = yield* server("target", 1)
  const refused = yield* closedPort
  yield* files(users, {
    known_hosts: gate.known + target.known,
    unknown: gate.known,
    config: `
Include ${users}/hosts
Host *
  HostName 127.0.0.1
  User ${username}
  IdentityFile ${users}/id
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile ${users}/known_hosts
  GlobalKnownHostsFile none
  BatchMode yes
Match originalhost target* user ${username}
  SendEnv PEER_*
`,
    hosts: `
Host gate
  Port ${gate.ports[0]}
Host bastion
  Port ${gate.ports[1]}
  ProxyJump gate
Host target target-*
  Port ${target.ports[0]}
Host target
  ProxyJump bastion
Host target-list
  ProxyJump gate,bastion
Host target-unknown
  ProxyJump gate
  UserKnownHostsFile ${users}/unknown
Host target-ssh
  ProxyCommand ssh -q -F ${users}/config -W [%h]:%p gate
Host target-socat
  ProxyCommand socat - TCP:%h:%p
Host target-pipes
  ProxyCommand sh -c 'cat | socat - TCP:%h:%p | cat'
Host target-nobody
  ProxyCommand socat - TCP:%h:${refused}
Host target-locked
  ProxyJump gate
  IdentityFile ${users}/id_locked
Host target-certified
  IdentityFile ${users}/id_certified
  CertificateFile ${users}/missing
  CertificateFile ${users}/certificate
Host nobody
  Port ${refused}
  ProxyJump gate
Host target-agent
  IdentityAgent ${users}/agent.sock
  IdentityFile ${users}/id_locked.pub
`
  })
  yield* fs.chmod(`${users}/hosts`, 0o600)
  return { gate, target, users, username, configFile: `${users}/config`, refused }
})

class Servers extends Context.Service<Servers, Effect.Success<typeof make>>()("test/peers/Jump") {
  static readonly layer = Layer.effect(this, make).pipe(Layer.provide(services))
}

const ssh = { command: "ssh", package: "openssh-client" }

const settingsOf = Effect.fnUntraced(function*(host: string, options: SshSettings.ConfigOptions = {}) {
  const { configFile } = yield* Servers
  return yield* SshSettings.fromConfig(host, { configFile, ...options })
})

const connect = (settings: SshSettings.SshSettings) =>
  Effect.flatMap(Dialer.Dialer, (dialer) => Ssh.make(dialer).connect(settings)).pipe(Effect.provide(Dialer.layer))

const say = "echo \"$SSH_CONNECTION\"; id -un"

const execute = (settings: SshSettings.SshSettings, command = say) =>
  Effect.scoped(Effect.flatMap(connect(settings), (session) => session.execute(command))).pipe(
    Effect.map(({ text }) => text)
  )

/** That the client's own end of a connection has another port each time is of no interest. */
const withoutPort = (text: string) => text.replace(/^(\S+) \d+/, "$1").trim()

layer(Servers.layer, { excludeTestServices: true, timeout: "60 seconds" })("the way to a server of OpenSSH", (it) => {
  for (const host of ["gate", "bastion", "target", "target-list", "target-ssh", "target-socat", "target-pipes"]) {
    it.effect(`is the one of ssh for ${host}`, () =>
      Effect.gen(function*() {
        const { configFile, username } = yield* Servers
        const ours = yield* execute(yield* settingsOf(host))
        const theirs = yield* run(ssh, ["-F", configFile, host, say])
        assert.strictEqual(withoutPort(ours), withoutPort(theirs))
        assert.include(ours, username)
      }).pipe(Effect.provide(services)))
  }

  it.effect("opens one connection to each server, and closes them all", () =>
    Effect.gen(function*() {
      const { gate, target } = yield* Servers
      const count = Effect.map(Effect.all([gate.sessions, target.sessions]), (all) => all.map(({ length }) => length))
      yield* Effect.scoped(Effect.gen(function*() {
        yield* connect(yield* settingsOf("target"))
        assert.deepStrictEqual(yield* count, [2, 1])
      }))
      yield* Effect.repeat(count, {
        until: (counts) => counts.every((count) => count === 0),
        schedule: Schedule.spaced("20 millis")
      })
    }))

  it.effect("is refused where the last server is not known, and says so of that one", () =>
    Effect.gen(function*() {
      const { target, username } = yield* Servers
      const error = yield* Effect.flip(execute(yield* settingsOf("target-unknown")))
      assert.strictEqual(error._tag === "SshError" ? error.server : "", `ssh ${username}@127.0.0.1:${target.ports[0]}`)
      assert.strictEqual(error.reason._tag === "HostKeyRejected" ? error.reason.why : error.reason._tag, "unknown")
    }))

  it.effect("says from where a server cannot be reached", () =>
    Effect.gen(function*() {
      const { gate, refused, username } = yield* Servers
      const error = yield* Effect.flip(execute(yield* settingsOf("nobody")))
      assert.deepInclude(error, {
        _tag: "DialError",
        target: `127.0.0.1:${refused}`,
        hop: `ssh ${username}@127.0.0.1:${gate.ports[0]}`
      })
      assert.strictEqual(error.reason._tag, "Refused")
    }))

  it.effect("says what a command said that did not get there", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(execute(yield* settingsOf("target-nobody")))
      assert.deepInclude(error, { _tag: "DialError", hop: "command socat" })
      assert.strictEqual(error.reason._tag === "ProxyRefused" ? error.reason.code : -1, 1)
      assert.include(error.message, "Connection refused")
      const { users } = yield* Servers
      const settings = yield* settingsOf("target-socat")
      const refusing = `ssh -F ${users}/config -o UserKnownHostsFile=/dev/null -W [%h]:%p gate`
      const rejected = yield* Effect.flip(execute({ ...settings, proxyCommand: refusing }))
      assert.strictEqual(rejected.reason._tag === "ProxyRefused" ? rejected.reason.code : -1, 255)
      assert.include(rejected.message, "Host key verification failed")
    }))

  it.effect("ends a session with the server on the way, and says which that was", () =>
    Effect.gen(function*() {
      const { gate, username } = yield* Servers
      const session = yield* connect(yield* settingsOf("target-list"))
      const running = yield* Effect.forkChild(Effect.flip(session.execute("sleep 60")))
      yield* session.execute("true")
      // the connection to the first port is the older one
      const [first] = (yield* gate.sessions).toSorted((one, other) => one - other)
      process.kill(first!, "SIGTERM")
      const error = yield* Fiber.join(running)
      assert.strictEqual(error.reason._tag, "ConnectionLost")
      assert.include(error.message, `ssh ${username}@127.0.0.1:${gate.ports[0]}: `)
    }).pipe(Effect.scoped))

  it.effect("asks for the passphrase once the server on the way would take the key", () =>
    Effect.gen(function*() {
      const { users, username } = yield* Servers
      const asked: Array<string> = []
      const settings = yield* settingsOf("target-locked", {
        passphrase: (path) => Effect.sync(() => (asked.push(path), Redacted.make(passphrase)))
      })
      assert.include(yield* execute(settings), username)
      assert.deepStrictEqual(asked, [`${users}/id_locked`])
    }))

  it.effect("uses the certificate that the configuration names, with its key", () =>
    Effect.gen(function*() {
      const { configFile, users, username } = yield* Servers
      const settings = yield* settingsOf("target-certified")
      const [way, ...others] = [settings.auth].flat()
      assert.deepInclude(way, { _tag: "PrivateKey", key: `${users}/id_certified`, certificate: `${users}/certificate` })
      // the second is the key of all hosts, which would do without
      assert.lengthOf(others, 1)
      assert.include(yield* execute({ ...settings, auth: way! }), username)
      const plain = yield* Effect.flip(
        execute({ ...settings, auth: SshAuth.privateKey({ key: `${users}/id_certified` }) })
      )
      assert.strictEqual(plain.reason._tag, "AuthenticationFailed")
      assert.include(yield* run(ssh, ["-F", configFile, "target-certified", say]), username)
    }).pipe(Effect.provide(services)))

  it.effect("uses the agent for a key of which there is only the public part", () =>
    Effect.gen(function*() {
      const { configFile, users, username } = yield* Servers
      const socket = `${users}/agent.sock`
      yield* start({ command: "ssh-agent", package: "openssh-client" }, {
        args: ["-D", "-a", socket],
        cwd: users,
        ports: []
      })
      const fs = yield* FileSystem.FileSystem
      yield* Effect.repeat(fs.exists(socket), { until: (is) => is, schedule: Schedule.spaced("10 millis") })
      yield* fs.writeFileString(`${users}/askpass`, `#!/bin/sh\necho '${passphrase}'\n`)
      yield* fs.chmod(`${users}/askpass`, 0o700)
      const env = { SSH_AUTH_SOCK: socket, SSH_ASKPASS: `${users}/askpass`, SSH_ASKPASS_REQUIRE: "force" }
      yield* run({ command: "ssh-add", package: "openssh-client" }, ["-q", `${users}/id_locked`], {
        env,
        extendEnv: true
      })
      // the other key is not authorised here
      const settings = yield* settingsOf("target-agent")
      const ways = [settings.auth].flat()
      assert.deepStrictEqual(ways.map(({ _tag }) => _tag), ["Agent", "PrivateKey"])
      assert.include(yield* execute({ ...settings, auth: ways[0]! }), username)
      assert.include(yield* run(ssh, ["-F", configFile, "target-agent", say]), username)
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.effect("sends the variables of SendEnv", () =>
    Effect.gen(function*() {
      const settings = yield* settingsOf("target", { environment: { PEER_A: "sent", OTHER: "not" } })
      assert.strictEqual(yield* execute(settings, "echo $PEER_A-$OTHER"), "sent-\n")
    }))
})

layer(Servers.layer, { excludeTestServices: true, timeout: "60 seconds" })("what is dialled", (it) => {
  /** What an SSH server says first. */
  const greeting = Effect.fnUntraced(function*(port: number) {
    const dialer = yield* Dialer.Dialer
    const duplex = yield* dialer.dial({ host: "127.0.0.1", port })
    return yield* Effect.callback<string>((resume) => {
      duplex.once("data", (chunk: Buffer) => resume(Effect.succeed(chunk.toString())))
    })
  }, Effect.scoped)

  it.effect("goes through a tunnel with jump hosts", () =>
    Effect.gen(function*() {
      const { target } = yield* Servers
      const tunnel = SshTunnel.layer(yield* settingsOf("bastion")).pipe(Layer.provide(Dialer.layer))
      assert.match(yield* Effect.provide(greeting(target.ports[0]!), tunnel), /^SSH-2\.0-OpenSSH/)
    }))

  it.effect("goes by ssh -W and by socat", () =>
    Effect.gen(function*() {
      const { configFile, target } = yield* Servers
      for (const command of [`ssh -q -F ${configFile} -W [%h]:%p bastion`, "socat - TCP:%h:%p"]) {
        assert.match(
          yield* Effect.provide(greeting(target.ports[0]!), ProxyCommand.layer(command)),
          /^SSH-2\.0-OpenSSH/
        )
      }
    }))
})

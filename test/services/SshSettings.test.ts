import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import type { SshError } from "../../src/errors/SshError.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import * as SshAgent from "../../src/services/SshAgent.ts"
import * as SshAuth from "../../src/services/SshAuth.ts"
import * as SshSettings from "../../src/services/SshSettings.ts"
import { leavesNothing } from "../support/leaks.ts"
import { rawServer, temporaryFolder } from "../support/servers.ts"
import { secret, until } from "../support/ssh.ts"
import { generateKey, make, type SshServerOptions } from "../support/sshPeer.ts"
import { readAll } from "../support/streams.ts"

const test = (title: string, body: () => Effect.Effect<unknown, unknown, Scope.Scope>) =>
  it.live(title, () => leavesNothing(Effect.scoped(body())), 30_000)

/** A folder with a configuration in which no file of this machine's user has a part; `{dir}` in it is the folder. */
const configuration = Effect.fnUntraced(function*(text: string) {
  const directory = yield* temporaryFolder
  const configFile = `${directory}/config`
  const isolated =
    "IdentityAgent none\nIdentityFile {dir}/id\nUserKnownHostsFile {dir}/known_hosts\nGlobalKnownHostsFile none\n"
  const put = (name: string, content: string) => Fs.writeFileSync(`${directory}/${name}`, content, { mode: 0o600 })
  put("config", `${text}\nHost *\n${isolated}`.replaceAll("{dir}", directory))
  return { directory, configFile, put }
})

const fromConfig = Effect.fnUntraced(function*(text: string, options: SshSettings.ConfigOptions = {}, host = "web") {
  const { configFile, directory } = yield* configuration(text)
  return { directory, ...yield* SshSettings.fromConfig(host, { configFile, environment: {}, ...options }) }
})

const reasonOf = <A, R>(effect: Effect.Effect<A, SshError, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

const waysOf = ({ auth }: SshSettings.SshSettings): ReadonlyArray<SshAuth.SshAuth> => [auth].flat()

const tagsOf = (settings: SshSettings.SshSettings) => waysOf(settings).map(({ _tag }) => _tag)

/** An SSH server, and what a configuration says to find it and to know it. */
const server = Effect.fnUntraced(function*(options: SshServerOptions = {}) {
  const server = yield* make(options)
  return { ...server, place: `HostName 127.0.0.1\nPort ${server.port}\nUser demo\n` }
})

const execute = (settings: SshSettings.SshSettings, command = "echo in") =>
  Effect.flatMap(Ssh.Ssh, (ssh) => ssh.execute(settings, command)).pipe(
    Effect.map(({ text }) => text),
    Effect.provide(Ssh.layer.pipe(Layer.provide(Dialer.layer)))
  )

describe("SshSettings.fromConfig", () => {
  test("logs in with what the files say: name, port, user, key, known host", () =>
    Effect.gen(function*() {
      const key = generateKey()
      const { knownHostsLine, place } = yield* server({ authorizedKeys: [key.public] })
      const { configFile, put } = yield* configuration(`Host web\n${place}`)
      put("id", key.private)
      put("known_hosts", knownHostsLine("127.0.0.1"))
      const settings = yield* SshSettings.fromConfig("web", { configFile })
      assert.strictEqual(yield* execute(settings), "in\n")
    }))

  test("goes through the jump hosts, each looked up in the same files", () =>
    Effect.gen(function*() {
      const key = generateKey()
      const gate = yield* server({ authorizedKeys: [key.public] })
      const bastion = yield* server({ password: "gate keeper", username: "keeper" })
      const target = yield* server({ authorizedKeys: [key.public] })
      const { configFile, put } = yield* configuration(
        `Host web\n${target.place}ProxyJump bastion\n` +
          `Host bastion\n${bastion.place.replace("demo", "keeper")}ProxyJump gate\nPubkeyAuthentication no\n` +
          `Host gate\n${gate.place}`
      )
      put("id", key.private)
      put("known_hosts", [gate, bastion, target].map((one) => one.knownHostsLine("127.0.0.1")).join("\n"))
      const settings = yield* SshSettings.fromConfig("web", {
        configFile,
        auth: ({ host }) => host === "bastion" ? [SshAuth.password(Redacted.make("gate keeper"))] : []
      })
      assert.strictEqual(yield* execute(settings), "in\n")
      assert.deepStrictEqual([gate.logins() > 0, bastion.logins(), target.logins() > 0], [true, 1, true])
    }))

  test("goes by the command, with its tokens", () =>
    Effect.gen(function*() {
      const key = generateKey()
      const { knownHostsLine, place } = yield* server({ authorizedKeys: [key.public] })
      const script = `const [h,p,...rest]=process.argv.slice(1);if(rest.join()!=="web,demo,%")process.exit(5);` +
        `const s=require("net").connect(+p,h);process.stdin.pipe(s).pipe(process.stdout)`
      const { configFile, put } = yield* configuration(
        `Host web\n${place}ProxyCommand ${process.execPath} -e '${script.replaceAll("%", "%%")}' %h %p %n %r %%\n`
      )
      put("id", key.private)
      put("known_hosts", knownHostsLine("127.0.0.1"))
      assert.strictEqual(yield* execute(yield* SshSettings.fromConfig("web", { configFile })), "in\n")
    }))

  test("sends the variables of SendEnv and SetEnv", () =>
    Effect.gen(function*() {
      const { place } = yield* server({ password: Redacted.value(secret) })
      const settings = yield* fromConfig(
        `${place}StrictHostKeyChecking accept-new\nSendEnv LC_* NOT_*\nSendEnv -NOT_*\nSetEnv COLOR=red LC_A=set\n`,
        {
          auth: () => [SshAuth.password(secret)],
          environment: { LC_A: "sent", LC_B: "b", NOT_C: "c", OTHER: "o" }
        }
      )
      assert.deepStrictEqual(settings.env, { LC_A: "set", LC_B: "b", COLOR: "red" })
      assert.strictEqual(yield* execute(settings, "env LC_B"), "b\n")
      assert.strictEqual(yield* execute(settings, "env NOT_C"), "\n")
    }))

  test("takes over times, numbers and algorithms, and leaves the rest to the defaults", () =>
    Effect.gen(function*() {
      const set = yield* fromConfig(
        "ConnectTimeout 5\nConnectionAttempts 4\nServerAliveInterval 1m\nServerAliveCountMax 7\nRekeyLimit 1G 1h\n" +
          "Compression yes\nCiphers aes256-ctr,3des-cbc,nonsense\nMACs -*etm*\nKexAlgorithms ^ecdh-sha2-nistp521\n" +
          "HostKeyAlgorithms rsa-sha2-*\nHostKeyAlias Alias\n"
      )
      const { connectTimeout, connectionAttempts, keepAlive, keepAliveCount, rekey } = set
      assert.deepStrictEqual({ connectTimeout, connectionAttempts, keepAlive, keepAliveCount, rekey }, {
        connectTimeout: "5 seconds",
        connectionAttempts: 4,
        keepAlive: "60 seconds",
        keepAliveCount: 7,
        rekey: { bytes: 1024 ** 3, interval: "3600 seconds" }
      })
      assert.strictEqual(set.hostKeyAlias, "alias")
      assert.deepStrictEqual(set.algorithms?.cipher, ["aes256-ctr", "3des-cbc"])
      assert.deepStrictEqual(set.algorithms?.mac, ["hmac-sha2-256", "hmac-sha2-512"])
      assert.strictEqual(set.algorithms?.keyExchange?.[0], "ecdh-sha2-nistp521")
      assert.include(set.algorithms?.keyExchange ?? [], "curve25519-sha256")
      assert.sameMembers([...set.algorithms?.hostKey ?? []], ["rsa-sha2-256", "rsa-sha2-512"])
      assert.deepStrictEqual(set.algorithms?.compression, ["zlib@openssh.com", "none"])
      const unset = yield* fromConfig("")
      assert.deepStrictEqual(unset.algorithms, {})
      for (const key of ["connectTimeout", "keepAlive", "jump", "proxyCommand", "hostKeyAlias"] as const) {
        assert.isUndefined(unset[key], key)
      }
      assert.isFalse((yield* fromConfig("ServerAliveInterval 0\n")).keepAlive)
    }))

  test("gives the forwardings as data", () =>
    Effect.gen(function*() {
      const { forwards } = yield* fromConfig(
        "LocalForward 80 web:81\nLocalForward *:82 /run/x.sock\nDynamicForward [::1]:1080\n" +
          "RemoteForward 8080 localhost:80\nRemoteForward 1081\n"
      )
      assert.deepStrictEqual(forwards, [
        { _tag: "Local", bind: { host: "localhost", port: 80 }, target: { host: "web", port: 81 } },
        { _tag: "Local", bind: { host: "0.0.0.0", port: 82 }, target: { path: "/run/x.sock" } },
        { _tag: "Dynamic", bind: { host: "::1", port: 1080 } },
        { _tag: "Remote", bind: { host: "localhost", port: 8080 }, target: { host: "localhost", port: 80 } },
        { _tag: "RemoteDynamic", bind: { host: "localhost", port: 1081 } }
      ])
      const everywhere = yield* fromConfig("GatewayPorts yes\nLocalForward 80 web:81\n")
      assert.deepInclude(everywhere.forwards[0], { bind: { host: "0.0.0.0", port: 80 } })
    }))

  test("gives forwardings that a session starts", () =>
    Effect.gen(function*() {
      const raw = yield* rawServer()
      yield* Effect.forkScoped(Effect.map(raw.next, (socket) => socket.pipe(socket)))
      const { place } = yield* server({ password: Redacted.value(secret) })
      const { configFile, directory } = yield* configuration(
        `${place}StrictHostKeyChecking accept-new\nLocalForward {dir}/%n.sock ${raw.address}\n`
      )
      const settings = yield* SshSettings.fromConfig("web", { configFile, auth: () => [SshAuth.password(secret)] })
      yield* Effect.gen(function*() {
        const session = yield* Ssh.make(yield* Dialer.Dialer).connect(settings)
        yield* session.forward(settings.forwards)
        const duplex = yield* (yield* Dialer.Dialer).dial({ path: `${directory}/web.sock` })
        duplex.end("forwarded")
        assert.strictEqual((yield* readAll(duplex)).bytes.toString(), "forwarded")
      }).pipe(Effect.scoped, Effect.provide(Layer.merge(Dialer.layer, Listener.layer)))
    }))

  test("lets options have the last word about user and port", () =>
    Effect.gen(function*() {
      const settings = yield* fromConfig("User bob\nPort 1\n", { username: "carol", port: 2222 })
      assert.deepInclude(settings, { username: "carol", port: 2222 })
    }))
})

describe("the ways to log in", () => {
  const passwords = { auth: () => [SshAuth.password(secret), SshAuth.keyboardInteractive(secret)] }

  test("are tried in the order of ssh, or of PreferredAuthentications", () =>
    Effect.gen(function*() {
      const plain = yield* fromConfig("", passwords)
      assert.deepStrictEqual(tagsOf(plain), ["KeyboardInteractive", "Password"])
      const preferred = yield* fromConfig(
        "PreferredAuthentications hostbased,password,keyboard-interactive\n",
        passwords
      )
      assert.deepStrictEqual(tagsOf(preferred), ["Password", "KeyboardInteractive"])
      for (
        const [text, tags] of [
          ["PasswordAuthentication no", ["KeyboardInteractive"]],
          ["KbdInteractiveAuthentication no", ["Password"]],
          ["PreferredAuthentications publickey", ["None"]]
        ] as const
      ) assert.deepStrictEqual(tagsOf(yield* fromConfig(`${text}\n`, passwords)), [...tags])
    }))

  test("are none but the name where nothing is there", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(tagsOf(yield* fromConfig("")), ["None"])
    }))

  test("begin with the keys of the agent that are named, then its others, then the files", () =>
    Effect.gen(function*() {
      const key = generateKey()
      const text = (more: string) => `IdentityAgent {dir}/agent.sock\nIdentityFile {dir}/named\n${more}`
      const ways = Effect.fnUntraced(function*(more: string) {
        const { configFile, put } = yield* configuration(text(more))
        put("named", key.private)
        return waysOf(yield* SshSettings.fromConfig("web", { configFile, environment: {} }))
      })
      const all = yield* ways("")
      assert.deepStrictEqual(all.map(({ _tag }) => _tag), ["Agent", "Agent", "PrivateKey"])
      const keys = all.map((way) => way._tag === "Agent" ? way.keys?.length : 0)
      assert.deepStrictEqual(keys, [1, undefined, 0])
      assert.deepStrictEqual((yield* ways("IdentitiesOnly yes\n")).map(({ _tag }) => _tag), ["Agent", "PrivateKey"])
      assert.deepStrictEqual(
        (yield* ways("PubkeyAuthentication no\n")).map(({ _tag }) => _tag),
        ["None"]
      )
    }))

  test("find the agent by IdentityAgent, SSH_AUTH_SOCK or another variable", () =>
    Effect.gen(function*() {
      const nameOf = Effect.fnUntraced(function*(text: string) {
        const environment = { SSH_AUTH_SOCK: "/run/env.sock", OTHER: "/run/other.sock" }
        const { configFile, directory } = yield* configuration(text)
        const [way] = waysOf(yield* SshSettings.fromConfig("web", { configFile, environment }))
        return way?._tag === "Agent" ? way.agent.name.replace(directory, "{dir}") : way?._tag
      })
      assert.strictEqual(yield* nameOf("IdentityAgent SSH_AUTH_SOCK\n"), "agent /run/env.sock")
      assert.strictEqual(yield* nameOf("IdentityAgent $OTHER\n"), "agent /run/other.sock")
      assert.strictEqual(yield* nameOf("IdentityAgent ${OTHER}-%h\n"), "agent /run/other.sock-web")
      assert.strictEqual(yield* nameOf("IdentityAgent {dir}/a\n"), "agent {dir}/a")
      assert.strictEqual(yield* nameOf("IdentityAgent none\n"), "None")
    }))

  test("ask for the passphrase of a key when the server would take it", () =>
    Effect.gen(function*() {
      const phrase = Redacted.make("open sesame")
      const wanted = generateKey(phrase)
      const other = generateKey(phrase)
      const { knownHostsLine, place } = yield* server({ authorizedKeys: [wanted.public] })
      const { configFile, directory, put } = yield* configuration(
        `Host web\n${place}IdentityFile {dir}/other\nIdentityFile {dir}/wanted\n`
      )
      put("other", other.private)
      put("wanted", wanted.private)
      put("known_hosts", knownHostsLine("127.0.0.1"))
      const asked: Array<string> = []
      const settings = yield* SshSettings.fromConfig("web", {
        configFile,
        passphrase: (path) =>
          Effect.sync(() => {
            asked.push(path.replace(directory, ""))
            return phrase
          })
      })
      assert.strictEqual(yield* execute(settings), "in\n")
      assert.deepStrictEqual(asked, ["/wanted"])
    }))

  test("pass over what cannot be used, and say why when nothing is left", () =>
    Effect.gen(function*() {
      const key = generateKey()
      const locked = generateKey(Redacted.make("open sesame"))
      const { configFile, put } = yield* configuration(
        "IdentityFile {dir}/damaged\nIdentityFile {dir}/locked\nIdentityFile {dir}/missing\nIdentityFile {dir}/good\n"
      )
      put("damaged", "-----BEGIN OPENSSH PRIVATE KEY-----\nbm9uc2Vuc2U=\n-----END OPENSSH PRIVATE KEY-----\n")
      put("locked", locked.private)
      const nothing = yield* reasonOf(SshSettings.fromConfig("web", { configFile }))
      assert.strictEqual(nothing._tag, "KeyUnreadable")
      assert.include(nothing.message, "damaged")
      put("good", key.private)
      assert.deepStrictEqual(tagsOf(yield* SshSettings.fromConfig("web", { configFile })), ["PrivateKey"])
    }))

  test("know a key by the public file beside it, where an agent has the private one", () =>
    Effect.gen(function*() {
      const key = generateKey()
      const { configFile, put } = yield* configuration(
        "IdentityAgent {dir}/a\nIdentitiesOnly yes\nIdentityFile {dir}/gone\n"
      )
      put("gone.pub", key.public)
      assert.deepStrictEqual(tagsOf(yield* SshSettings.fromConfig("web", { configFile })), ["Agent"])
    }))

  test("forward the agent that ForwardAgent names", () =>
    Effect.gen(function*() {
      const nameOf = (text: string) =>
        Effect.map(fromConfig(text, { environment: { SSH_AUTH_SOCK: "/run/a", OTHER: "/run/o" } }), (settings) =>
          settings.agentForwarding?.name)
      assert.strictEqual(
        yield* nameOf("IdentityAgent SSH_AUTH_SOCK\nForwardAgent yes\n"),
        SshAgent.socket("/run/a").name
      )
      assert.strictEqual(yield* nameOf("ForwardAgent $OTHER\n"), SshAgent.socket("/run/o").name)
      assert.strictEqual(yield* nameOf("ForwardAgent /run/%h\n"), SshAgent.socket("/run/web").name)
      assert.isUndefined(yield* nameOf("ForwardAgent no\n"))
    }))
})

describe("the host keys", () => {
  const outcome = Effect.fnUntraced(function*(text: string, known: "none" | "right" | "changed", options = {}) {
    const { knownHostsLine, place } = yield* server({ password: Redacted.value(secret) })
    const { configFile, directory, put } = yield* configuration(`Host web\n${place}${text}`)
    const other = yield* make()
    if (known !== "none") {
      const line = known === "right" ? knownHostsLine("127.0.0.1") : other.knownHostsLine("127.0.0.1", 1)
      put("known_hosts", `${line.replace("]:1 ", `]:${place.match(/Port (\d+)/)![1]} `)}\n`)
    }
    const settings = yield* SshSettings.fromConfig("web", {
      configFile,
      auth: () => [SshAuth.password(secret)],
      ...options
    })
    const result = yield* Effect.result(execute(settings))
    const file = `${directory}/known_hosts`
    const lines = Fs.existsSync(file) ? Fs.readFileSync(file, "utf8") : ""
    const reason = Result.isSuccess(result) ? undefined : result.failure.reason
    return { reason: reason?._tag === "HostKeyRejected" ? reason.why : reason?._tag ?? "accepted", lines }
  })

  test("are decided by StrictHostKeyChecking; a changed key is never accepted", () =>
    Effect.gen(function*() {
      for (
        const [value, unknown] of [["yes", "unknown"], ["ask", "unknown"], ["accept-new", "accepted"], [
          "no",
          "accepted"
        ], [
          "off",
          "accepted"
        ]] as const
      ) {
        const text = `StrictHostKeyChecking ${value}\n`
        assert.strictEqual((yield* outcome(text, "none")).reason, unknown)
        assert.strictEqual((yield* outcome(text, "right")).reason, "accepted")
        assert.strictEqual((yield* outcome(text, "changed")).reason, "changed")
      }
    }))

  test("are remembered, hashed where HashKnownHosts says so", () =>
    Effect.gen(function*() {
      assert.match(
        (yield* outcome("StrictHostKeyChecking accept-new\n", "none")).lines,
        /^\[127\.0\.0\.1\]:\d+ ssh-ed25519 /
      )
      assert.match((yield* outcome("StrictHostKeyChecking no\nHashKnownHosts yes\n", "none")).lines, /^\|1\|/)
    }))

  test("are asked about where there is somebody to ask", () =>
    Effect.gen(function*() {
      const asking = (answer: "remember" | "once" | "reject") => ({ ask: () => Effect.succeed(answer) })
      assert.include((yield* outcome("", "none", asking("remember"))).lines, "ssh-ed25519")
      assert.deepStrictEqual(yield* outcome("", "none", asking("once")), { reason: "accepted", lines: "" })
      assert.strictEqual((yield* outcome("", "none", asking("reject"))).reason, "unknown")
      assert.strictEqual((yield* outcome("", "changed", asking("remember"))).reason, "changed")
    }))

  test("are not remembered where there is no file for them", () =>
    Effect.gen(function*() {
      for (const file of ["none", "/dev/null"]) {
        const text = `UserKnownHostsFile ${file}\nStrictHostKeyChecking accept-new\n`
        assert.deepStrictEqual(yield* outcome(text, "none"), { reason: "accepted", lines: "" })
      }
    }))

  test("are revoked by RevokedHostKeys", () =>
    Effect.gen(function*() {
      const key = generateKey()
      const { knownHostsLine, place } = yield* server({ password: Redacted.value(secret), hostKeys: [key.private] })
      const { configFile, put } = yield* configuration(`Host web\n${place}RevokedHostKeys {dir}/revoked\n`)
      put("known_hosts", knownHostsLine("127.0.0.1"))
      put("revoked", key.public)
      const settings = yield* SshSettings.fromConfig("web", { configFile, auth: () => [SshAuth.password(secret)] })
      const error = yield* Effect.flip(execute(settings))
      assert.strictEqual(error.reason._tag === "HostKeyRejected" ? error.reason.why : error.reason._tag, "revoked")
    }))
})

describe("what fromConfig refuses", () => {
  test("a way through jump hosts that leads back", () =>
    Effect.gen(function*() {
      const self = yield* reasonOf(fromConfig("ProxyJump bastion\n"))
      assert.strictEqual(self._tag === "ConfigInvalid" ? self.line : 0, 1)
      assert.include(self.message, "leads back")
      const circle = yield* reasonOf(fromConfig("Host web\nProxyJump a\nHost a\nProxyJump b\nHost b\nProxyJump web\n"))
      assert.include(circle.message, "web:22 -> ")
      // what stands before a server in the list takes the place of its own
      const { jump } = yield* fromConfig("Host web\nProxyJump b,a\nHost a\nProxyJump web\n")
      assert.deepInclude(jump, { host: "a" })
      assert.deepInclude(jump !== undefined && "jump" in jump ? jump.jump : undefined, { host: "b" })
    }))

  test("what would do something else than ssh does", () =>
    Effect.gen(function*() {
      for (
        const [text, feature, words] of [
          ["CanonicalizeHostname yes", "other", "CanonicalizeHostname"],
          ["ProxyCommand nc\nProxyUseFdpass yes", "other", "ProxyUseFdpass"],
          ["ProxyCommand -", "other", "terminal"],
          ["Ciphers nonsense", "algorithm", "nonsense"],
          ["KexAlgorithms sntrup761x25519-sha512", "post-quantum key exchange", "sntrup761"],
          ["KexAlgorithms -*", "algorithm", "no key exchange algorithm"]
        ] as const
      ) {
        const reason = yield* reasonOf(fromConfig(`${text}\n`))
        assert.strictEqual(reason._tag === "Unsupported" ? reason.feature : reason._tag, feature, text)
        assert.include(reason.message, words)
      }
      yield* fromConfig("CanonicalizeHostname no\nProxyUseFdpass yes\n")
    }))

  test("files that make no sense, with the line, and files that are not there", () =>
    Effect.gen(function*() {
      const { configFile } = yield* configuration("Port 1\nPort x\n")
      const error = yield* Effect.flip(SshSettings.fromConfig("web", { configFile }))
      assert.strictEqual(error.message, `ssh web: ${configFile}:2: port: "x" is no port`)
      const missing = yield* reasonOf(SshSettings.resolve("web", { configFile: "/nowhere/config" }))
      assert.deepInclude(missing, { _tag: "ConfigInvalid", file: "/nowhere/config", line: 0 })
    }))

  test("names that a shell could take for more", () =>
    Effect.gen(function*() {
      const { configFile } = yield* configuration("User %n\nProxyCommand nc %h %r\n")
      for (const host of ["$(touch x)", "-oProxyCommand=x", "a b", "a;b"]) {
        assert.strictEqual((yield* reasonOf(SshSettings.resolve(host, { configFile })))._tag, "ConfigInvalid")
      }
      for (const username of ["a;b", "-l", "a'b"]) {
        const options = { configFile, username }
        assert.strictEqual((yield* reasonOf(SshSettings.resolve("web", options)))._tag, "ConfigInvalid")
      }
    }))
})

describe("SshSettings.resolve", () => {
  test("gives what the files say as data", () =>
    Effect.gen(function*() {
      const { configFile, directory } = yield* configuration(
        "Host web\nHostName %h.example.com\nProxyJump joe@gate:2222\nRemoteCommand echo %h\nRequestTTY force\nFingerprintHash md5\n"
      )
      const config = yield* SshSettings.resolve("web", { configFile, username: "bob", environment: {} })
      assert.deepInclude(config, { host: "web", hostname: "web.example.com", port: 22, username: "bob" })
      assert.deepStrictEqual(config.proxyJump, [{ host: "gate", username: "joe", port: 2222 }])
      assert.deepStrictEqual(config.identityFiles, [`${directory}/id`])
      assert.deepInclude(config.values, {
        remotecommand: ["echo web.example.com"],
        requesttty: ["force"],
        fingerprinthash: ["md5"],
        compression: ["no"]
      })
      assert.deepStrictEqual(config.placeOf("hostname"), { file: configFile, line: 2 })
      assert.isUndefined(config.placeOf("compression"))
    }))

  test("runs the commands of Match exec only when it may", () =>
    Effect.gen(function*() {
      const { configFile, directory } = yield* configuration(
        "Match exec \"touch {dir}/ran\"\nPort 1\nMatch !exec false\nUser bob\n"
      )
      const cautious = yield* SshSettings.resolve("web", { configFile })
      assert.strictEqual(cautious.port, 22)
      assert.notStrictEqual(cautious.username, "bob")
      assert.isFalse(Fs.existsSync(`${directory}/ran`))
      assert.deepInclude(yield* SshSettings.resolve("web", { configFile, matchExec: true }), {
        port: 1,
        username: "bob"
      })
      assert.isTrue(Fs.existsSync(`${directory}/ran`))
    }))

  test("ends the command of Match exec when nobody waits for it any more", () =>
    Effect.gen(function*() {
      const { configFile, directory } = yield* configuration(
        "Match exec \"echo $$ > {dir}/pid; exec sleep 60\"\nPort 1\n"
      )
      const resolving = yield* Effect.forkChild(SshSettings.resolve("web", { configFile, matchExec: true }))
      const file = `${directory}/pid`
      yield* until(() => Fs.existsSync(file) && Fs.readFileSync(file, "utf8").endsWith("\n"))
      yield* Fiber.interrupt(resolving)
      assert.throws(() => process.kill(Number(Fs.readFileSync(file, "utf8")), 0))
    }))

  test("says so when a command of Match exec cannot be run", () =>
    Effect.gen(function*() {
      const { configFile } = yield* configuration("Match exec \"kill $$\"\nPort 1\n")
      const killed = yield* reasonOf(SshSettings.resolve("web", { configFile, matchExec: true }))
      assert.deepInclude(killed, { _tag: "ConfigInvalid", line: 1, detail: "SIGTERM ended the command" })
      const environment = { SHELL: "/nowhere/sh" }
      const missing = yield* reasonOf(SshSettings.resolve("web", { configFile, matchExec: true, environment }))
      assert.deepInclude(missing, { _tag: "ConfigInvalid", line: 1 })
    }))
})

/** What the SSH and SFTP modules of the system that this library replaces do, row by row, and what they lack. */
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Proxy from "../../src/layers/Proxy.ts"
import * as ConnectionLog from "../../src/services/ConnectionLog.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as HostKeys from "../../src/services/HostKeys.ts"
import type * as Listener from "../../src/services/Listener.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import * as SshAgent from "../../src/services/SshAgent.ts"
import * as SshAuth from "../../src/services/SshAuth.ts"
import { leavesNothing } from "../support/leaks.ts"
import { httpProxy, socksProxy } from "../support/loopbackProxies.ts"
import { networks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { temporaryFolder } from "../support/servers.ts"
import { connect, connected, secret, sshServer, until } from "../support/ssh.ts"
import type { SshServerOptions } from "../support/sshPeer.ts"
import { generateKey } from "../support/sshPeer.ts"

type Services = Dialer.Dialer | Listener.Listener | Scope.Scope | FileSystem.FileSystem

const row = (title: string, body: () => Effect.Effect<unknown, unknown, Services>) =>
  it.live(title, () =>
    leavesNothing(
      Effect.scoped(body()).pipe(Effect.provide(Layer.merge(networks["on loopback"](), NodeFileSystem.layer)))
    ))

/** A server with files, its root folder, and a session's SFTP. */
const files = Effect.gen(function*() {
  const root = yield* temporaryFolder
  const { session } = yield* connected({ sftp: { root } })
  return { root, session, sftp: yield* session.sftp, fs: yield* FileSystem.FileSystem }
})

const logsIn = Effect.fnUntraced(function*(options: SshServerOptions, auth: SshAuth.SshAuth) {
  const { settings } = yield* sshServer(options)
  const session = yield* connect({ ...settings, auth })
  assert.strictEqual((yield* session.execute("echo in")).text, "in\n")
})

describe("SSH of openintegrations", () => {
  row(
    "CreateConnection(settings, proxy, logging): a session, on which any number of commands run",
    () =>
      Effect.gen(function*() {
        const { server, session } = yield* connected()
        const texts = yield* Effect.forEach(["a", "b", "c"], (word) => session.execute(`echo ${word}`), {
          concurrency: "unbounded"
        })
        assert.deepStrictEqual(texts.map(({ text }) => text), ["a\n", "b\n", "c\n"])
        assert.strictEqual(server.connections(), 1)
      })
  )

  row("GetConnectionConfiguration(...) and any function: opens, does one thing, closes", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const { text } = yield* Ssh.make(yield* Dialer.Dialer).execute(server.settings, "echo once")
      assert.strictEqual(text, "once\n")
      yield* until(() => server.connections() === 0)
    }))

  row("ExecuteCommand(connection, command): output, error output and exit code", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const fine = yield* session.execute("echo fine")
      assert.deepStrictEqual([fine.text, fine.errorText, fine.exitCode], ["fine\n", "", Option.some(0)])
      const wrong = yield* session.execute("stderr wrong")
      assert.deepStrictEqual([wrong.text, wrong.errorText, wrong.exitCode], ["", "wrong\n", Option.some(1)])
    }))

  row("CloseConnection(connection): the end of the scope, which nobody can forget", () =>
    Effect.gen(function*() {
      const { settings, ...server } = yield* sshServer()
      const session = yield* Effect.scoped(connect(settings))
      yield* until(() => server.connections() === 0)
      assert.strictEqual((yield* reasonOf(session.execute("echo late")))._tag, "ConnectionLost")
    }))

  row(
    "GetSettingsLoginPassword(address, port, login, password): logs in with a password",
    () => logsIn({}, SshAuth.password(secret))
  )

  row(
    "GetSettingsPrivateKey(address, port, login, private, public, passphrase): logs in with a key, as text or as a file",
    () =>
      Effect.gen(function*() {
        const passphrase = Redacted.make("a passphrase")
        const pair = generateKey(passphrase)
        const options = { authorizedKeys: [pair.public] }
        yield* logsIn(options, SshAuth.privateKey({ key: Redacted.make(pair.private), passphrase }))
        const file = `${yield* temporaryFolder}/id`
        yield* FileSystem.FileSystem.use((fs) => fs.writeFileString(file, pair.private))
        yield* logsIn(options, SshAuth.privateKey({ key: file, passphrase }))
      })
  )

  row("GetSettingsViaAgent(address, port, login): logs in with the keys of an agent", () =>
    Effect.gen(function*() {
      const pair = generateKey()
      const agent = SshAgent.inMemory({ key: Redacted.make(pair.private) })
      yield* logsIn({ authorizedKeys: [pair.public] }, SshAuth.agent(agent))
    }))

  row("GetSettingsKI(address, port, login, answers): answers questions in order", () =>
    logsIn(
      {
        questions: [
          { prompts: [{ prompt: "Password:", echo: false, answer: "one" }] },
          { prompts: [{ prompt: "Code:", echo: true, answer: "two" }] }
        ]
      },
      SshAuth.keyboardInteractive(Redacted.make("one"), Redacted.make("two"))
    ))

  row(
    "GetProxySettings(address, port, socks5/socks4/http, login, password): SSH goes through such a proxy",
    () =>
      Effect.gen(function*() {
        const { settings } = yield* sshServer()
        const credentials = { username: "login", password: "password" }
        const login = { username: credentials.username, password: Redacted.make(credentials.password) }
        const open = yield* socksProxy()
        const socks = yield* socksProxy({ credentials })
        const http = yield* httpProxy({ credentials })
        const host = "127.0.0.1"
        const proxies = [
          [{ protocol: "socks5", host, port: open.port }, open],
          [{ protocol: "socks4", host, port: open.port }, open],
          [{ protocol: "socks5", host, port: socks.port, ...login }, socks],
          [{ protocol: "http", host, port: http.port, ...login }, http]
        ] as const
        for (const [proxy, { seen }] of proxies) {
          const Live = Ssh.layer.pipe(Layer.provide(Proxy.layer(proxy)), Layer.provide(Dialer.layer))
          const result = yield* Ssh.Ssh.use((ssh) => ssh.execute(settings, "echo through")).pipe(Effect.provide(Live))
          assert.strictEqual(result.text, "through\n")
          assert.strictEqual(seen.at(-1), `127.0.0.1:${settings.port}`)
        }
      })
  )

  row(
    "GetLoggingSettings(memory, maxEvents, file), GetLog(asString, count): what happened, without a secret",
    () =>
      Effect.gen(function*() {
        const file = `${yield* temporaryFolder}/log`
        const { settings } = yield* sshServer()
        const text = yield* Effect.gen(function*() {
          const log = yield* ConnectionLog.ConnectionLog
          yield* Effect.scoped(Effect.flatMap(connect(settings), (session) => session.execute("echo logged")))
          const events = yield* log.events
          assert.isTrue(events.some(({ event, source }) => source === "ssh" && event === "connected"))
          assert.isTrue(events.some(({ event, source }) => source === "ssh" && event === "closed"))
          assert.strictEqual((yield* log.asString(1)).split("\n").length, 1)
          return yield* log.asString()
        }).pipe(Effect.provide(ConnectionLog.layerFile({ file })))
        assert.strictEqual((yield* FileSystem.FileSystem.use((fs) => fs.readFileString(file))).trimEnd(), text)
        assert.notInclude(text, Redacted.value(secret))
      })
  )

  row(
    "a server's key is not taken on trust: one that is not known is refused before anything is sent",
    () =>
      Effect.gen(function*() {
        const { settings, ...server } = yield* sshServer()
        const known = `${yield* temporaryFolder}/known_hosts`
        const hostKeys = HostKeys.knownHosts({ files: [known] })
        const reason = yield* reasonOf(connect({ ...settings, hostKeys }))
        assert.deepInclude(reason, { _tag: "HostKeyRejected", why: "unknown", fingerprint: server.hostKeyFingerprint })
        assert.strictEqual(server.logins(), 0)
      })
  )
})

describe("SFTP of openintegrations", () => {
  row("ListObjects(connection, path, recursive): what is in a folder, and below it", () =>
    Effect.gen(function*() {
      const { fs, root, sftp } = yield* files
      yield* fs.makeDirectory(`${root}/a/b`, { recursive: true })
      yield* fs.writeFileString(`${root}/a/b/file`, "x")
      const paths = (recursive: boolean) =>
        Effect.map(Stream.runCollect(sftp.list("/", { recursive })), (all) => all.map(({ path }) => path))
      assert.sameMembers(yield* paths(false), ["/a"])
      assert.sameMembers(yield* paths(true), ["/a", "/a/b", "/a/b/file"])
    }))

  row(
    "CreateDirectory(connection, path), DeleteDirectory(connection, path): makes and removes folders",
    () =>
      Effect.gen(function*() {
        const { fs, root, sftp } = yield* files
        yield* sftp.mkdir("/folder")
        assert.isTrue(yield* fs.exists(`${root}/folder`))
        yield* sftp.rmdir("/folder")
        assert.isFalse(yield* fs.exists(`${root}/folder`))
      })
  )

  row("GetCurrentDirectory(connection): where relative paths begin", () =>
    Effect.gen(function*() {
      const { sftp } = yield* files
      assert.strictEqual(yield* sftp.currentDirectory, "/")
    }))

  row("UploadFile(connection, file or data, path): a file, or bytes", () =>
    Effect.gen(function*() {
      const { fs, root, session } = yield* files
      const local = `${yield* temporaryFolder}/local`
      yield* fs.writeFileString(local, "from a file")
      yield* session.upload(local, "/file")
      yield* session.upload(Buffer.from("from memory"), "/data")
      assert.strictEqual(yield* fs.readFileString(`${root}/file`), "from a file")
      assert.strictEqual(yield* fs.readFileString(`${root}/data`), "from memory")
    }))

  row("DownloadFile(connection, path, file): to a file, or bytes", () =>
    Effect.gen(function*() {
      const { fs, root, session } = yield* files
      yield* fs.writeFileString(`${root}/file`, "content")
      const local = `${yield* temporaryFolder}/local`
      yield* session.download("/file", local)
      assert.strictEqual(yield* fs.readFileString(local), "content")
      assert.strictEqual(Buffer.from(yield* session.downloadBytes("/file")).toString(), "content")
    }))

  row("DeleteFile(connection, path): removes a file", () =>
    Effect.gen(function*() {
      const { fs, root, sftp } = yield* files
      yield* fs.writeFileString(`${root}/file`, "x")
      yield* sftp.remove("/file")
      assert.isFalse(yield* fs.exists(`${root}/file`))
      const reason = yield* reasonOf(sftp.remove("/file"))
      assert.deepInclude(reason, { _tag: "SftpStatus", status: "NoSuchFile", path: "/file" })
    }))

  row(
    "RenameObject(connection, path, newPath, overwrite): takes the place of what is there only when it is told to",
    () =>
      Effect.gen(function*() {
        const { fs, root, sftp } = yield* files
        yield* fs.writeFileString(`${root}/a`, "a")
        yield* fs.writeFileString(`${root}/b`, "b")
        assert.strictEqual((yield* reasonOf(sftp.rename("/a", "/b")))._tag, "SftpStatus")
        assert.strictEqual(yield* fs.readFileString(`${root}/b`), "b")
        yield* sftp.rename("/a", "/b", { overwrite: true })
        assert.strictEqual(yield* fs.readFileString(`${root}/b`), "a")
        assert.isFalse(yield* fs.exists(`${root}/a`))
      })
  )
})

/** What only a server does: certificates by name, reload, tickets. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as MutableRef from "effect/MutableRef"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import * as Fs from "node:fs"
import * as Net from "node:net"
import type * as NodeTls from "node:tls"
import { server, type TlsInfo, tlsInfo } from "../../../src/internal/tls/handshake.ts"
import { type ResolvedTls, resolveServer, type TlsOptions } from "../../../src/internal/tls/options.ts"
import * as TestCertificates from "../../../src/testing/TestCertificates.ts"
import { leavesNothing } from "../../support/leaks.ts"
import { temporaryFolder } from "../../support/servers.ts"
import { turns } from "../../support/streams.ts"
import { echoes, listening, nextConnection, nodeClient } from "../../support/tls.ts"

const live = (title: string, body: () => Effect.Effect<unknown, unknown, Scope.Scope>) =>
  it.live(title, () => leavesNothing(Effect.scoped(body())))

/** Our server on a port: `meet` is one connection of a client of Node's, with what both sides know of it. */
const serving = Effect.fnUntraced(function*(resolved: ResolvedTls) {
  const { port, server: raw } = yield* listening(Net.createServer({ allowHalfOpen: true }))
  const meet = Effect.fnUntraced(function*(options: NodeTls.ConnectionOptions) {
    const tickets: Array<Buffer> = []
    const [theirs, ours] = yield* Effect.all([
      nodeClient(port, options, tickets),
      Effect.flatMap(nextConnection(raw), (socket) => server(socket, resolved))
    ], { concurrency: "unbounded" })
    ours.pipe(ours)
    yield* echoes(theirs)
    const info: TlsInfo | undefined = tlsInfo(ours)
    if (info === undefined) return assert.fail("no details")
    const { subject }: Partial<NodeTls.PeerCertificate> = theirs.getPeerCertificate()
    return { theirs, ours, info, tickets, name: subject?.CN }
  })
  return { port, meet }
})

const resolved = (options: TlsOptions) => Effect.flatMap(resolveServer(options), serving)

describe("a server", () => {
  live("shows each client the certificate for the name it asks for", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* TestCertificates.authority()
      const general = yield* issue({ names: ["general.test"], commonName: "general" })
      const exact = yield* issue({ names: ["db.test"], commonName: "exact" })
      const wildcard = yield* issue({ names: ["*.test"], commonName: "wildcard" })
      const pfx = yield* TestCertificates.pfx(yield* issue({ names: ["pfx.test"], commonName: "pfx" }), "secret")
      const { meet } = yield* resolved({
        ...general,
        sni: {
          "DB.test": exact,
          "*.test": wildcard,
          "pfx.test": { pfx, passphrase: Redacted.make("secret") }
        }
      })
      const unchecked = { ca, checkServerIdentity: () => undefined }
      const cases = [
        ["db.test", "exact"],
        ["Db.Test", "exact"],
        ["web.test", "wildcard"],
        ["pfx.test", "pfx"],
        ["a.web.test", "general"],
        ["test", "general"],
        ["example.com", "general"]
      ] as const
      for (const [servername, certificate] of cases) {
        const { info, name } = yield* meet({ ...unchecked, servername })
        assert.deepStrictEqual([name, info.servername], [certificate, servername])
      }
      const { info, name } = yield* meet(unchecked)
      assert.deepStrictEqual([name, info.servername], ["general", undefined])
    }))

  live("demands clients' certificates under every name", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* TestCertificates.authority()
      const own = yield* issue({ names: ["db.test"] })
      const { meet } = yield* resolved({ ...own, ca, requestClientCertificate: true, sni: { "db.test": own } })
      const alice = yield* issue({ names: ["alice.test"], commonName: "alice", client: true })
      const { info } = yield* meet({ ca, servername: "db.test", ...alice })
      assert.deepStrictEqual(info.peerChain.map(({ subject }) => subject), ["CN=alice", "CN=Test authority"])
      assert.strictEqual(info.peer?.subjectAltName, "DNS:alice.test")
    }))

  live(
    "lets clients take up sessions, with their certificates",
    () =>
      Effect.gen(function*() {
        const { certificate: ca, issue } = yield* TestCertificates.authority()
        const own = yield* issue({ names: ["db.test", "web.test"] })
        const alice = yield* issue({ names: [], commonName: "alice", client: true })
        for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
          const { meet } = yield* resolved({
            ...own,
            ca,
            maxVersion,
            requestClientCertificate: true,
            sni: { "web.test": own }
          })
          const options = { ca, ...alice, servername: "db.test" }
          const first = yield* meet(options)
          assert.isFalse(first.info.resumed)
          const ticket = first.tickets.at(-1) ?? assert.fail("no ticket")
          const second = yield* meet({ ...options, session: ticket })
          assert.isTrue(second.info.resumed)
          assert.isTrue(second.theirs.isSessionReused())
          assert.strictEqual(second.info.peer?.subject, "CN=alice")
        }
      })
  )

  live("issues no tickets when it is told not to", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* TestCertificates.authority()
      for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
        const { meet } = yield* resolved({ ...(yield* issue({ names: ["db.test"] })), maxVersion, resumption: false })
        const options = { ca, servername: "db.test" }
        const session = (yield* meet(options)).tickets.at(-1)
        const second = yield* meet({ ...options, ...(session === undefined ? {} : { session }) })
        assert.isFalse(second.info.resumed)
      }
    }))

  live("prefers its own order of protocols, and accepts clients that name none", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* TestCertificates.authority()
      const { meet } = yield* resolved({ ...(yield* issue({ names: ["db.test"] })), alpn: ["b", "a"] })
      const options = { ca, servername: "db.test" }
      const agreed = yield* meet({ ...options, ALPNProtocols: ["a", "b", "c"] })
      assert.deepStrictEqual([agreed.info.alpn, agreed.theirs.alpnProtocol], ["b", "b"])
      assert.isUndefined((yield* meet(options)).info.alpn)
    }))

  live("needs a certificate, and pins clients only when they have to show theirs", () =>
    Effect.gen(function*() {
      const { issue } = yield* TestCertificates.authority()
      const own = yield* issue({ names: ["db.test"] })
      const complaint = (options: TlsOptions) => Effect.map(Effect.flip(resolveServer(options)), ({ option }) => option)
      assert.strictEqual(yield* complaint({}), "cert")
      assert.strictEqual(yield* complaint({ ...own, pin: "0".repeat(64) }), "pin")
      assert.strictEqual(yield* complaint({ ...own, reload: 0 }), "reload")
      assert.strictEqual(yield* complaint({ ...own, sni: { "a.test": {} } }), "sni[\"a.test\"]")
      assert.strictEqual(yield* complaint({ ...own, sni: { "a.test": { cert: own.cert } } }), "sni[\"a.test\"].key")
      for (const name of ["", "*", "a.*.test", "a b", "x*.test", "-a.test", "a..test"]) {
        assert.strictEqual(yield* complaint({ ...own, sni: { [name]: own } }), `sni["${name}"]`)
      }
    }))
})

describe("reload", () => {
  /** The messages that were logged. */
  const logged = () => {
    const messages: Array<string> = []
    return { messages, layer: Logger.layer([Logger.make(({ message }) => void messages.push(String(message)))]) }
  }

  /** Lets the clock of the test come to the next read, and waits until it has been made. */
  const nextRead = Effect.fnUntraced(function*(messages: ReadonlyArray<string>) {
    const before = messages.length
    yield* TestClock.adjust("1 minute")
    while (messages.length === before) yield* turns(1)
  })

  it.effect("shows new connections the new certificate, and leaves the open ones alone", () => {
    const { layer, messages } = logged()
    return leavesNothing(Effect.scoped(Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const root = yield* TestCertificates.authority()
      const [cert, key, other] = [`${folder}/cert.pem`, `${folder}/key.pem`, `${folder}/other.pem`]
      const write = (credentials: TestCertificates.Credentials) => {
        Fs.writeFileSync(cert, credentials.cert)
        Fs.writeFileSync(key, credentials.key)
      }
      const names = ["db.test", "web.test"]
      write(yield* root.issue({ names, commonName: "first" }))
      Fs.writeFileSync(other, (yield* root.issue({ names })).cert)
      const tls = yield* resolveServer({ cert, key, reload: "1 minute", sni: { "web.test": { cert, key } } })
      const { meet } = yield* serving(tls)
      const options = { ca: root.certificate, servername: "db.test" }
      const first = yield* meet(options)
      assert.strictEqual(first.name, "first")

      write(yield* root.issue({ names, commonName: "second" }))
      yield* nextRead(messages)
      assert.deepStrictEqual(messages, ["TLS certificates were reloaded"])
      yield* echoes(first.theirs, "still here")
      const second = yield* meet(options)
      assert.strictEqual(second.name, "second")
      assert.strictEqual((yield* meet({ ...options, servername: "web.test" })).name, "second")
      // whom the old context had accepted has to show itself anew
      const session = first.tickets.at(-1) ?? assert.fail("no ticket")
      assert.isFalse((yield* meet({ ...options, session })).info.resumed)

      const secret = Fs.readFileSync(key, "utf8").split("\n")[1] ?? ""
      for (
        const [spoil, message] of [
          [() => Fs.copyFileSync(other, cert), /key values mismatch/],
          [() => Fs.writeFileSync(key, `-----BEGIN PRIVATE KEY-----\n${secret}`), /"key": not a PEM private key/],
          [() => Fs.rmSync(cert), /"cert": cannot read the file/]
        ] as const
      ) {
        spoil()
        yield* nextRead(messages)
        assert.match(messages.at(-1) ?? "", /^TLS certificates could not be reloaded, the old ones stay in use: /)
        assert.match(messages.at(-1) ?? "", message)
        assert.strictEqual((yield* meet(options)).name, "second")
      }
      write(yield* root.issue({ names, commonName: "third" }))
      yield* nextRead(messages)
      assert.strictEqual((yield* meet(options)).name, "third")
      assert.notInclude(messages.join("\n"), secret)
    }))).pipe(Effect.provide(layer))
  })

  it.live("makes nothing new of files that are the same", () =>
    Effect.scoped(Effect.gen(function*() {
      const { issue } = yield* TestCertificates.authority()
      const tls = yield* resolveServer({ ...(yield* issue({ names: ["db.test"] })), reload: "1 millis" })
      const before = MutableRef.get(tls.contexts)
      yield* Effect.sleep("30 millis")
      assert.strictEqual(MutableRef.get(tls.contexts), before)
    })))

  it.effect("ends with the scope", () => {
    const { layer, messages } = logged()
    return Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const { issue } = yield* TestCertificates.authority()
      const { cert, key } = yield* issue({ names: ["db.test"] })
      const path = `${folder}/cert.pem`
      Fs.writeFileSync(path, cert)
      yield* Effect.scoped(resolveServer({ cert: path, key, reload: "1 minute" }))
      Fs.rmSync(path)
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(messages, [])
    }).pipe(Effect.provide(layer))
  })
})

describe("keyLog", () => {
  live("appends the keys of every connection to a file that only its owner can read", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* TestCertificates.authority()
      const keyLog = `${yield* temporaryFolder}/keys.log`
      const { meet } = yield* resolved({ ...(yield* issue({ names: ["db.test"] })), keyLog })
      for (let n = 0; n < 2; n++) {
        yield* meet({ ca, servername: "db.test" })
      }
      // appended in the background
      const complete = /^(?=[^]*CLIENT_TRAFFIC_SECRET_0 [0-9a-f]{64} [0-9a-f]{64,}\n[^]*CLIENT_TRAFFIC_SECRET_0)/
      while (!complete.test(Fs.readFileSync(keyLog, "utf8"))) {
        yield* turns(1)
      }
      assert.strictEqual(Fs.statSync(keyLog).mode & 0o777, 0o600)
    }))

  live("is refused when the file cannot be written", () =>
    Effect.gen(function*() {
      const { issue } = yield* TestCertificates.authority()
      const folder = yield* temporaryFolder
      const error = yield* Effect.flip(resolveServer({ ...(yield* issue({ names: [] })), keyLog: folder }))
      assert.strictEqual(error.message, `TLS option "keyLog": cannot write to the file "${folder}"`)
    }))
})

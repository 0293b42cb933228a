import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Crypto from "node:crypto"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import type * as SshSettings from "../../src/services/SshSettings.ts"
import { reasonOf } from "../support/reason.ts"
import { OpenSsh, sshSettings } from "./support/openssh.ts"
import { services } from "./support/peer.ts"
import { sshdWith } from "./support/sshdWith.ts"

const connect = Effect.fnUntraced(function*(changes?: Partial<SshSettings.SshSettings>) {
  const ssh = yield* Ssh.Ssh
  return yield* ssh.connect(yield* sshSettings(changes))
})

const connectTo = (settings: SshSettings.SshSettings) => Effect.flatMap(Ssh.Ssh, (ssh) => ssh.connect(settings))

const mebibyte = 1024 * 1024

const sha256 = (stream: Stream.Stream<Uint8Array, unknown>) =>
  Effect.map(
    Stream.runFold(stream, () => Crypto.createHash("sha256"), (hash, chunk) => hash.update(chunk)),
    (hash) => hash.digest("hex")
  )

const peers = Layer.mergeAll(OpenSsh.layer, Ssh.layer.pipe(Layer.provide(Dialer.layer)), services)

layer(peers, { excludeTestServices: true, timeout: "60 seconds" })("SSH programs on OpenSSH", (it) => {
  it.effect("have the environment of the settings and of the call", () =>
    Effect.gen(function*() {
      const session = yield* connect({ env: { PEER_A: "settings", PEER_B: "settings" } })
      const print = "echo \"$PEER_A $PEER_B\""
      assert.strictEqual((yield* session.execute(print)).text, "settings settings\n")
      assert.strictEqual((yield* session.execute(print, { env: { PEER_B: "call" } })).text, "settings call\n")
      const { connection } = yield* session.shell({ env: { PEER_B: "shell" }, modes: { ECHO: 0 } })
      yield* connection.write("echo \"<$PEER_A $PEER_B>\"\n")
      assert.include(yield* connection.readString({ marker: "<settings shell>" }), "<settings shell>")
    }))

  it.effect("have a terminal where they want one", () =>
    Effect.gen(function*() {
      const session = yield* connect()
      assert.strictEqual((yield* session.execute("test -t 0")).succeeded, false)
      const small = { term: "vt220", columns: 40, rows: 10, modes: { OPOST: 0 } }
      const result = yield* session.execute("echo $TERM; stty size; echo error >&2", { pty: small })
      assert.deepStrictEqual([result.text, result.errorText], ["vt220\n10 40\nerror\n", ""])
      assert.strictEqual((yield* session.execute("echo $TERM; stty size", { pty: true })).text, "xterm\r\n24 80\r\n")
      assert.strictEqual((yield* reasonOf(session.execute("true", { pty: { term: "vt\u00e4" } })))["_tag"], "Unknown")
    }))

  it.effect("take signals, also when their input has ended", () =>
    Effect.gen(function*() {
      const session = yield* connect()
      const sleeping = yield* session.exec("echo ready; exec sleep 60")
      yield* Stream.run(Stream.empty, sleeping.stdin)
      yield* Stream.runHead(sleeping.stdout)
      yield* sleeping.signal("TERM")
      const { exitCode, signal } = yield* sleeping.exit
      assert.deepStrictEqual([exitCode, signal], [Option.none(), Option.some("SIGTERM")])
      assert.deepStrictEqual((yield* sleeping.closed).signal, Option.some("SIGTERM"))
    }))

  it.effect("are killed with their scope where that is wanted", () =>
    Effect.gen(function*() {
      const session = yield* connect()
      const lives = (pid: string) => Effect.map(session.execute(`kill -0 ${pid}`), ({ succeeded }) => succeeded)
      const start = Effect.scoped(Effect.gen(function*() {
        // deaf to everything but the signal
        const { stdout } = yield* session.exec("trap '' HUP PIPE; echo $$; sleep 60 & wait; sleep 60", {
          killSignal: "KILL"
        })
        return Option.getOrThrow(yield* Stream.runHead(Stream.splitLines(Stream.decodeText(stdout))))
      }))
      const pid = yield* start
      yield* lives(pid).pipe(
        Effect.filterOrFail((lives) => !lives),
        Effect.retry({ times: 200, schedule: Schedule.spaced("20 millis") })
      )
    }))

  it.effect("have ended before their channel is closed when they leave somebody behind", () =>
    Effect.gen(function*() {
      const session = yield* connect()
      const started = yield* session.exec("cat <&3 3<&0 & exit 3")
      assert.deepStrictEqual((yield* started.exit).exitCode, Option.some(3))
      const command = "sleep 60 & echo $!"
      const { exitCode, text } = yield* session.execute(command, { until: "exit" })
      assert.deepStrictEqual(exitCode, Option.some(0))
      const waiting = session.execute(command, { timeout: "300 millis" })
      assert.strictEqual((yield* reasonOf(waiting))["_tag"], "CommandTimeout")
      yield* session.execute(`kill ${text}; pkill -u $(id -u) sleep`)
    }))

  it.effect("end a writer that nobody reads from any more, though their output is not read", () =>
    Effect.gen(function*() {
      const session = yield* connect()
      const enough = yield* session.exec("head -c 100000 /dev/zero; head -c 10 > /dev/null")
      yield* Stream.run(Stream.forever(Stream.succeed(new Uint8Array(mebibyte))), enough.stdin)
      assert.deepStrictEqual((yield* enough.closed).exitCode, Option.some(0))
      assert.strictEqual(yield* Stream.runFold(enough.stdout, () => 0, (sum, { length }) => sum + length), 100_000)
    }))
})

layer(peers, { excludeTestServices: true, timeout: "60 seconds" })("SSH shells and subsystems on OpenSSH", (it) => {
  it.effect("are talked to as an expect script does", () =>
    Effect.gen(function*() {
      const session = yield* connect()
      const { connection, exit, resize, signal } = yield* session.shell({ term: "dumb", columns: 100, rows: 30 })
      yield* connection.write("PS1='ready> '; stty -echo; cd /\n")
      yield* connection.readUntil("\nready> ")
      const ask = Effect.fnUntraced(function*(line: string) {
        yield* connection.write(`${line}\n`)
        return (yield* connection.readString({ marker: "ready> ", timeout: "20 seconds" })).replace(/\r\nready> $/, "")
      })
      assert.strictEqual(yield* ask("stty size"), "30 100")
      yield* resize(132, 50)
      assert.strictEqual(yield* ask("stty size"), "50 132")
      yield* connection.write("read -p 'name? ' name && echo \"hello $name\"\n")
      yield* connection.readUntil("name? ")
      assert.strictEqual(yield* ask("wörld"), "hello wörld")
      const late = yield* reasonOf(connection.read({ marker: "never", timeout: "50 millis" }))
      assert.strictEqual(late["_tag"], "ReadTimeout")
      // once it runs: a ^C before that meets bash while it changes the terminal's mode, which can read as the end of input
      yield* connection.write("sh -c 'echo started; exec sleep 60'\n")
      yield* connection.readUntil("started\r\n")
      yield* connection.write("\x03")
      yield* connection.readUntil("ready> ")
      assert.strictEqual(yield* ask("echo $?"), "130")
      yield* connection.write("kill -HUP $$; exit 7\n")
      yield* exit
      yield* signal("HUP")
    }))

  it.effect("give their exit code, and the end of what they show", () =>
    Effect.gen(function*() {
      const session = yield* connect()
      const { connection, exit } = yield* session.shell()
      yield* connection.write("exit 7\n")
      yield* Stream.runDrain(connection.reads)
      assert.deepStrictEqual((yield* exit).exitCode, Option.some(7))
      assert.strictEqual((yield* reasonOf(connection.readLine()))["_tag"], "EndOfStream")
    }))

  it.effect("are started by name where the server knows it", () =>
    Effect.gen(function*() {
      const session = yield* connect()
      const { connection, exit } = yield* session.subsystem("sftp")
      // SSH_FXP_INIT of version 3, and its answer
      yield* connection.write(Uint8Array.from([0, 0, 0, 5, 1, 0, 0, 0, 3]))
      const length = Buffer.from(yield* connection.readExactly(4)).readUInt32BE(0)
      assert.deepStrictEqual([...(yield* connection.readExactly(length)).subarray(0, 5)], [2, 0, 0, 0, 3])
      yield* connection.closeWrite
      assert.deepStrictEqual((yield* exit).exitCode, Option.some(0))
      assert.strictEqual((yield* reasonOf(session.subsystem("no-such")))["_tag"], "ChannelRefused")
    }))
})

layer(peers, { excludeTestServices: true, timeout: "120 seconds" })("SSH sessions on OpenSSH", (it) => {
  it.effect("know the server by its own words", () =>
    Effect.gen(function*() {
      const session = yield* connect()
      assert.match(session.serverVersion, /^SSH-2\.0-OpenSSH_\d/)
      assert.deepStrictEqual(session.banner, Option.some("Wölcome\n"))
      assert.deepInclude(session.algorithms, { keyExchange: "curve25519-sha256", hostKey: "ssh-ed25519" })
      assert.deepStrictEqual(session.algorithms.receiving, {
        cipher: "aes128-gcm@openssh.com",
        mac: "implicit",
        compression: "none"
      })
    }))

  it.effect("agree on the algorithms that were asked for, each of which carries bytes", () =>
    Effect.gen(function*() {
      // not so many that new keys are due, which cost a second each in the largest groups
      const size = 400_000
      const sample = { cipher: "aes256-ctr", mac: "hmac-sha2-512-etm@openssh.com", compression: "zlib@openssh.com" }
      for (
        const algorithms of [
          { cipher: [sample.cipher], mac: [sample.mac], compression: [sample.compression] },
          { cipher: ["chacha20-poly1305@openssh.com"], keyExchange: ["ecdh-sha2-nistp384"], hostKey: ["rsa-sha2-512"] },
          { cipher: ["aes256-gcm@openssh.com"], keyExchange: ["diffie-hellman-group16-sha512"] },
          { cipher: ["aes128-ctr"], mac: ["hmac-sha2-256"], keyExchange: ["diffie-hellman-group-exchange-sha256"] }
        ]
      ) {
        const session = yield* connect({ algorithms })
        const { cipher, compression, mac } = session.algorithms.sending
        assert.strictEqual(cipher, algorithms.cipher[0])
        if (cipher === sample.cipher) assert.deepStrictEqual({ cipher, compression, mac }, sample)
        const result = yield* session.execute("cat", { stdin: Buffer.alloc(size, "ssh") })
        assert.isTrue(Buffer.from(result.stdout).equals(Buffer.alloc(size, "ssh")))
        yield* session.close
      }
    }))

  it.effect("say which algorithms the two sides would have had to have in common", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshdWith("Ciphers aes256-ctr\nKexAlgorithms ecdh-sha2-nistp256")
      const refused = (algorithms: SshSettings.Algorithms) => reasonOf(connectTo({ ...settings, algorithms }))
      assert.deepInclude(yield* refused({ cipher: ["aes128-ctr"] }), {
        _tag: "HandshakeFailed",
        detail: "no cipher algorithm in common: we offer aes128-ctr; the server offers aes256-ctr"
      })
      assert.deepInclude(yield* refused({ keyExchange: ["curve25519-sha256"] }), {
        _tag: "HandshakeFailed",
        detail: "no key exchange algorithm in common: we offer curve25519-sha256; the server offers ecdh-sha2-nistp256"
      })
      assert.deepInclude(yield* refused({ mac: ["hmac-rot13"] }), { _tag: "Unsupported", feature: "algorithm" })
      assert.isTrue((yield* Effect.flatMap(connectTo(settings), (session) => session.execute("true"))).succeeded)
    }))

  it.effect("do not carry a post-quantum key exchange, and say so", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshdWith("KexAlgorithms sntrup761x25519-sha512@openssh.com")
      assert.deepInclude(yield* reasonOf(connectTo(settings)), {
        _tag: "Unsupported",
        feature: "post-quantum key exchange"
      })
    }))

  it.effect("agree on new keys in the middle of transfers, by the one side and by the other", () =>
    Effect.gen(function*() {
      // the server does so after every MiB
      const session = yield* connect({ rekey: { bytes: 3 * mebibyte } })
      const bytes = Crypto.randomBytes(24 * mebibyte)
      const digest = Crypto.createHash("sha256").update(bytes).digest("hex")
      const up = session.execute("sha256sum", { stdin: Stream.make(bytes) })
      const down = Effect.gen(function*() {
        const { stdout } = yield* session.exec(`head -c ${bytes.length} /dev/zero`)
        return yield* sha256(stdout)
      })
      const both = yield* Effect.forkChild(Effect.all([up, down], { concurrency: "unbounded" }))
      yield* Effect.repeat(session.rekey, { times: 10 })
      const [{ text }, zeros] = yield* Fiber.join(both)
      assert.include(text, digest)
      assert.strictEqual(zeros, Crypto.createHash("sha256").update(Buffer.alloc(bytes.length)).digest("hex"))
    }))

  it.effect("agree on new keys by themselves", () =>
    Effect.gen(function*() {
      const { output, settings } = yield* sshdWith("LogLevel DEBUG1", { rekey: { bytes: mebibyte } })
      const session = yield* connectTo(settings)
      const size = 16 * mebibyte
      const { stdout } = yield* session.execute("cat", { stdin: Buffer.alloc(size), maxOutput: Infinity })
      assert.strictEqual(stdout.length, size)
      const agreed = Effect.map(output, (log) => (log.match(/SSH2_MSG_NEWKEYS received/g) ?? []).length)
      // of the last page of the log
      assert.isAtLeast(yield* agreed, 2)
      yield* session.close
      const timed = yield* connectTo({ ...settings, rekey: { interval: "10 millis" } })
      yield* Effect.repeat(timed.execute("sleep 0.02"), { times: 5 })
      assert.isAtLeast(yield* agreed, 2)
    }))
})

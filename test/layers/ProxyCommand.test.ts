import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as ProxyCommand from "../../src/layers/ProxyCommand.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as HostKeys from "../../src/services/HostKeys.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import * as SshAuth from "../../src/services/SshAuth.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import { leavesNothing } from "../support/leaks.ts"
import { reasonOf } from "../support/reason.ts"
import { closedBy, rawServer, temporaryFolder } from "../support/servers.ts"
import { secret, until } from "../support/ssh.ts"
import { make } from "../support/sshPeer.ts"
import { read, readAll, stuffed, write } from "../support/streams.ts"

const test = (title: string, body: () => Effect.Effect<unknown, unknown, Scope.Scope>) =>
  it.live(title, () => leavesNothing(Effect.scoped(body())), 30_000)

const node = (script: string, args = "") => `${process.execPath} -e '${script}' ${args}`

/** Connects to where it is told to and passes everything on, half-closes too. */
const relay = node(
  `const s=require("net").connect({host:process.argv[1],port:+process.argv[2],allowHalfOpen:true});` +
    `process.stdin.pipe(s);s.pipe(process.stdout)`,
  "%h %p"
)

const dialerOf = (command: string) =>
  Effect.map(Layer.build(ProxyCommand.layer(command)), (context) => Context.get(context, Dialer.Dialer))

const dial = (command: string, target: Dialer.DialTarget = "target.test:80") =>
  Effect.flatMap(dialerOf(command), (dialer) => dialer.dial(target))

const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

describe("ProxyCommand.layer", () => {
  test("makes a connection of a command's input and output", () =>
    Effect.gen(function*() {
      const raw = yield* rawServer()
      yield* Effect.forkScoped(Effect.map(raw.next, (socket) => socket.pipe(socket)))
      const tcp = yield* Effect.provide(
        TcpClient.TcpClient,
        TcpClient.layer.pipe(Layer.provide(ProxyCommand.layer(relay)))
      )
      const connection = yield* tcp.connect(raw.address)
      yield* connection.write("hello\n")
      assert.strictEqual(yield* connection.readLine(), "hello")
      yield* connection.closeWrite
      assert.strictEqual((yield* reasonOf(connection.read()))["_tag"], "EndOfStream")
    }))

  test("replaces the host and the port in it, and `%%` by `%`", () =>
    Effect.gen(function*() {
      const said = yield* readAll(yield* dial("echo %h:%p %% '%h'", "[::1]:443"))
      assert.strictEqual(said.bytes.toString(), "::1:443 % ::1\n")
      assert.strictEqual(said.ending, "end")
    }))

  test("carries bytes unharmed both ways, however many", () =>
    Effect.gen(function*() {
      const duplex = yield* dial("cat")
      const bytes = Buffer.alloc(3_000_000, "0123456789")
      const all = yield* Effect.forkChild(readAll(duplex))
      duplex.end(bytes)
      assert.isTrue((yield* Fiber.join(all)).bytes.equals(bytes))
    }))

  test("keeps the Dialer's contract: not flowing, half-open, a late error harms nobody", () =>
    Effect.gen(function*() {
      const raw = yield* rawServer()
      const duplex = yield* dial(relay, raw.address)
      const socket = yield* raw.next
      assert.isNull(duplex.readableFlowing)
      assert.isTrue(duplex.allowHalfOpen)
      assert.isAbove(duplex.listenerCount("error"), 0)
      // our end first: what the server still says arrives
      duplex.end("question")
      assert.strictEqual((yield* readAll(socket)).bytes.toString(), "question")
      socket.end("answer")
      assert.strictEqual((yield* readAll(duplex)).bytes.toString(), "answer")
      duplex.destroy(new Error("late"))
    }))

  test("passes the end of the output on while the input stays open", () =>
    Effect.gen(function*() {
      const raw = yield* rawServer()
      const duplex = yield* dial(
        node(
          `const s=require("net").connect(+process.argv[1],"127.0.0.1");` +
            `require("fs").writeSync(1,"first");require("fs").closeSync(1);process.stdin.pipe(s)`,
          "%p"
        ),
        raw.address
      )
      const socket = yield* raw.next
      const { bytes, ending } = yield* readAll(duplex)
      assert.deepStrictEqual([bytes.toString(), ending], ["first", "end"])
      duplex.end("still open")
      assert.strictEqual((yield* readAll(socket)).bytes.toString(), "still open")
    }))

  test("lets a command that has ended its output pass on what it was given", () =>
    Effect.gen(function*() {
      const raw = yield* rawServer()
      const duplex = yield* dial(
        node(
          `const s=require("net").connect(+process.argv[1],"127.0.0.1");require("fs").writeSync(1,"first");` +
            `require("fs").closeSync(1);const got=[];process.stdin.on("data",b=>got.push(b));` +
            `process.stdin.on("end",()=>setTimeout(()=>s.end(Buffer.concat(got)),200))`,
          "%p"
        ),
        raw.address
      )
      const socket = yield* raw.next
      yield* readAll(duplex)
      duplex.end("late")
      assert.strictEqual((yield* readAll(socket)).bytes.toString(), "late")
    }))

  test("holds the command back while nobody reads", () =>
    Effect.gen(function*() {
      const duplex = yield* dial("head -c 12000000 /dev/zero")
      duplex.once("readable", () => {})
      yield* stuffed(duplex)
      assert.isBelow(duplex.readableLength, 400_000)
      duplex.removeAllListeners("readable")
      assert.strictEqual((yield* readAll(duplex)).bytes.length, 12_000_000)
    }))

  test("takes no end for an end when the command fails: its code and last words are the error", () =>
    Effect.gen(function*() {
      const duplex = yield* dial(node(`process.stdout.write("half");console.error("one\\ntwo");process.exitCode=3`))
      const { bytes, ending } = yield* readAll(duplex)
      assert.strictEqual(bytes.toString(), "half")
      assert.include(ending, "the command ended with exit code 3: one; two")
    }))

  test("says the same to a write that the command does not take any more", () =>
    Effect.gen(function*() {
      const duplex = yield* dial(node(`process.stdin.destroy();console.error("no more");process.exitCode=4`))
      const writing = Effect.repeat(write(duplex, Buffer.alloc(65_536)), { while: (outcome) => outcome === "ok" })
      assert.include(yield* writing, "exit code 4: no more")
    }))

  test("refuses what no command can reach, and a command that makes no sense", () =>
    Effect.gen(function*() {
      const refusal = (command: string, target: Dialer.DialTarget) =>
        Effect.map(reasonOf(dial(command, target)), (reason) => `${String(reason["_tag"])}: ${String(reason["why"])}`)
      assert.strictEqual(
        yield* refusal("cat", { path: "/run/x.sock" }),
        "InvalidTarget: a command leads to a host and a port only"
      )
      assert.include(yield* refusal("nc %h %q", "a.test:1"), "InvalidTarget: the command cannot be used: \"%q\"")
      assert.match(yield* refusal("echo %h", "$(touch x):1"), /^InvalidTarget/)
    }))

  test("says that there is no shell", () =>
    Effect.gen(function*() {
      const shell = process.env["SHELL"]
      yield* Effect.acquireRelease(
        Effect.sync(() => process.env["SHELL"] = "/nowhere/sh"),
        () =>
          Effect.sync(() => {
            if (shell === undefined) delete process.env["SHELL"]
            else process.env["SHELL"] = shell
          })
      )
      const error = yield* Effect.flip(dial("cat"))
      assert.deepInclude(error, { target: "target.test:80", hop: "command cat" })
      assert.strictEqual(error.reason._tag, "Unknown")
      assert.include(error.message, "shell")
    }))

  test("calls the hop by the first word of the command", () =>
    Effect.gen(function*() {
      for (
        const [command, hop] of [["nc --password secret", "command nc"], ["\"/opt/my nc\" x", "command"], [
          "A=secret x",
          "command"
        ]] as const
      ) {
        assert.strictEqual((yield* Effect.flip(dial(command, { path: "/x" }))).hop, hop)
      }
    }))
})

describe("ProxyCommand's command", () => {
  /** Says its process id. */
  const pidOf = Effect.fnUntraced(function*(command: string) {
    const duplex = yield* dial(command)
    const said = yield* read(duplex, 10)
    return { duplex, pid: Number(said.toString().trim()) }
  })
  const sayPid = `process.stdout.write(String(process.pid).padStart(10));`

  test("ends with the scope, which waits for it", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { pid } = yield* Scope.provide(pidOf(node(`${sayPid}setInterval(()=>{},1000)`)), scope)
      assert.isTrue(isAlive(pid))
      yield* Scope.close(scope, Exit.void)
      assert.isFalse(isAlive(pid))
    }))

  test("is ended for good when it does not want to", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { pid } = yield* Scope.provide(
        pidOf(node(`process.on("SIGHUP",()=>{});${sayPid}setInterval(()=>{},1000)`)),
        scope
      )
      yield* Scope.close(scope, Exit.void)
      assert.isFalse(isAlive(pid))
    }))

  test("gets what was written before the scope closes", () =>
    Effect.gen(function*() {
      const file = `${yield* temporaryFolder}/written`
      yield* Effect.scoped(Effect.gen(function*() {
        const duplex = yield* dial(`cat > ${file}`)
        duplex.write(Buffer.alloc(100_000, "x"))
        yield* until(() => Fs.existsSync(file) && Fs.statSync(file).size === 100_000)
      }))
      assert.strictEqual(Fs.statSync(file).size, 100_000)
    }))
})

describe("Ssh by a command", () => {
  const direct = Ssh.layer.pipe(Layer.provide(Dialer.layer))
  const connect = (proxyCommand: string, port = 22, hostKeys = HostKeys.insecureAcceptAny) =>
    Effect.flatMap(
      Ssh.Ssh,
      (ssh) =>
        ssh.connect({
          host: "127.0.0.1",
          port,
          username: "demo",
          auth: SshAuth.password(secret),
          hostKeys,
          proxyCommand
        })
    )
      .pipe(Effect.provide(direct))

  test("connects, by the setting and by the layer", () =>
    Effect.gen(function*() {
      const server = yield* make({ password: Redacted.value(secret) })
      const hostKeys = HostKeys.fingerprint(server.hostKeyFingerprint)
      const session = yield* connect(relay, server.port, hostKeys)
      assert.strictEqual((yield* session.execute("echo by command")).text, "by command\n")
      const settings = {
        host: "127.0.0.1",
        port: server.port,
        username: "demo",
        auth: SshAuth.password(secret),
        hostKeys
      }
      const result = yield* Effect.flatMap(Ssh.Ssh, (ssh) => ssh.execute(settings, "echo by layer")).pipe(
        Effect.provide(Ssh.layer.pipe(Layer.provide(ProxyCommand.layer(relay))))
      )
      assert.strictEqual(result.text, "by layer\n")
    }))

  test("says what the command said when it ends before there is a connection", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(connect("hawser-no-such-command %h"))
      assert.deepInclude(error, { _tag: "DialError", target: "127.0.0.1:22", hop: "command hawser-no-such-command" })
      assert.strictEqual(error.reason._tag === "ProxyRefused" ? error.reason.code : 0, 127)
      assert.include(error.message, "not found")
      const quiet = yield* Effect.flip(connect("true"))
      assert.strictEqual(quiet.reason._tag === "ProxyRefused" ? quiet.reason.code : -1, 0)
      const killed = yield* Effect.flip(connect("sh -c 'kill -TERM $$'"))
      assert.strictEqual(killed.reason._tag === "ProxyRefused" ? killed.reason.code : -1, 143)
    }))

  test("is a failed handshake when the command speaks something else", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(connect("echo HTTP/1.1 400 Bad Request"))
      assert.strictEqual(error.reason._tag, "HandshakeFailed")
      assert.include(error.message, "400 Bad Request")
    }))

  test("loses its session with the command, and says why", () =>
    Effect.gen(function*() {
      const server = yield* make({ password: Redacted.value(secret) })
      const failing = relay.replace("s.pipe(", "s.on(\"end\",()=>{console.error(\"cut off\");process.exit(9)});s.pipe(")
      const session = yield* connect(failing, server.port)
      const waiting = yield* Effect.forkChild(Effect.flip(session.execute("wait")))
      yield* until(() => server.running() === 1)
      yield* server.kill
      const error = yield* Fiber.join(waiting)
      assert.strictEqual(error.reason._tag, "ConnectionLost")
      assert.include(error.message, "exit code 9: cut off")
    }))

  test("leaves no command behind when it is interrupted", () =>
    Effect.gen(function*() {
      const raw = yield* rawServer()
      const connecting = yield* Effect.forkChild(connect(relay, raw.port))
      const socket = yield* raw.next
      yield* Fiber.interrupt(connecting)
      yield* closedBy(socket)
    }))

  test("leaves no command behind when the login fails", () =>
    Effect.gen(function*() {
      const server = yield* make({ password: "other" })
      assert.strictEqual((yield* reasonOf(connect(relay, server.port)))["_tag"], "AuthenticationFailed")
      yield* until(() => server.connections() === 0)
    }))
})

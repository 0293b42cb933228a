import { Console, Effect, Redacted, Stream } from "effect"
import { Ssh, SshAuth } from "hawser"

const settings = {
  host: "server",
  username: "ops",
  auth: [
    SshAuth.agent(),
    SshAuth.privateKey({ key: "~/.ssh/id_ed25519" }),
    SshAuth.password(Redacted.make("secret"))
  ]
}

export const program = Effect.gen(function*() {
  const ssh = yield* Ssh.Ssh
  const { exitCode, text } = yield* ssh.execute(settings, "uname -a")
  yield* Console.log(exitCode, text)

  // one login, many commands, with their output as it comes
  const session = yield* ssh.connect(settings)
  const follow = yield* session.exec("journalctl --follow")
  yield* follow.stdout.pipe(Stream.decodeText(), Stream.splitLines, Stream.take(10), Stream.runForEach(Console.log))

  // a terminal, which is read as every connection is
  const { connection } = yield* session.shell()
  yield* connection.readUntil("$ ")
  yield* connection.write("sudo systemctl restart app\n")
  yield* connection.readUntil("password", { maxSize: 4096 })
}).pipe(Effect.scoped)

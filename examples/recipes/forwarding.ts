import { Effect, Redacted } from "effect"
import { Ssh, SshAuth, SshSettings } from "hawser"

export const program = Effect.gen(function*() {
  // as `ssh db` would do it: its keys, jump hosts, known hosts and forwardings
  const settings = yield* SshSettings.fromConfig("db", {
    passphrase: () => Redacted.make("of the key"),
    auth: ({ host }) => host === "db" ? [SshAuth.password(Redacted.make("secret"))] : []
  })
  const ssh = yield* Ssh.Ssh
  const session = yield* ssh.connect(settings)
  yield* session.forward(settings.forwards)

  const database = yield* session.forwardLocal("127.0.0.1:0", "localhost:5432") // ssh -L
  yield* session.forwardRemote("127.0.0.1:8080", "127.0.0.1:3000") // ssh -R
  yield* session.forwardDynamic("127.0.0.1:1080") // ssh -D
  yield* Effect.log("the database is at", database.address)
  yield* session.closed
}).pipe(Effect.scoped)

import { Effect, Schema, Stream } from "effect"
import { Ssh, type SshSettings } from "hawser"

/** The new release did not come up, and the old one is back. */
export class RolledBack extends Schema.TaggedError<RolledBack>()("RolledBack", { release: Schema.String }) {}

/** Uploads a release, makes it the current one and restarts the service; goes back when it does not come up. */
export const deploy = Effect.fn("deploy")(function*(
  settings: SshSettings.SshSettings,
  release: string,
  archive: Stream.Stream<Uint8Array>
) {
  const session = yield* Ssh.Ssh.use((ssh) => ssh.connect(settings))
  const sftp = yield* session.sftp

  const use = (name: string) =>
    Effect.gen(function*() {
      // a link is replaced in one step: there is a current release at any time
      yield* sftp.symlink(`releases/${name}`, "/srv/next")
      yield* sftp.rename("/srv/next", "/srv/current", { overwrite: true })
      const { exitCode } = yield* session.execute("systemctl restart app", { timeout: "1 minute" })
      return exitCode._tag === "Some" && exitCode.value === 0
    })

  // under another name until it is all there
  yield* Stream.run(archive, sftp.write(`/srv/releases/${release}.part`))
  yield* sftp.rename(`/srv/releases/${release}.part`, `/srv/releases/${release}`)
  const before = (yield* sftp.readLink("/srv/current")).replace("releases/", "")
  const rollBack = Effect.andThen(use(before), Effect.fail(new RolledBack({ release })))
  yield* Effect.flatMap(use(release), (isUp) => isUp ? Effect.void : rollBack)
}, Effect.scoped)

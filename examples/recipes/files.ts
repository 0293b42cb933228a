import { NodeFileSystem } from "@effect/platform-node"
import { Console, Effect, Stream } from "effect"
import type { SshSession } from "hawser"

export const deploy = Effect.fn("deploy")(
  function*(session: SshSession.SshSession) {
    // a folder, with how far it is; SCP takes over where the server has no SFTP
    yield* session.uploadProgress("dist", "/srv/app", { preserve: true, overwrite: "different" }).pipe(
      Stream.runForEach(({ files, totalFiles, transferred }) => Console.log(`${files}/${totalFiles}`, transferred))
    )
    // a file that goes on where it stopped, and is compared in the end
    yield* session.download("/srv/backup.tar", "backup.tar", { resume: true, verify: "sha256" })

    const sftp = yield* session.sftp
    yield* sftp.writeFile("/srv/app/version", "1.2.3\n")
    yield* sftp.list("/srv/app", { recursive: true }).pipe(
      Stream.filter(({ attributes }) => attributes.type === "File"),
      Stream.runForEach(({ path }) => Console.log(path))
    )
  },
  Effect.scoped,
  Effect.provide(NodeFileSystem.layer)
)

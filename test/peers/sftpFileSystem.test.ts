import { layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SftpFileSystem from "../../src/layers/SftpFileSystem.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import { fileSystemSuite } from "../support/fileSystemSuite.ts"
import { OpenSsh, sshSettings } from "./support/openssh.ts"

const peers = Layer.mergeAll(OpenSsh.layer, Ssh.layer.pipe(Layer.provide(Dialer.layer)))

const remote = Effect.gen(function*() {
  const session = yield* Ssh.Ssh.use((ssh) => Effect.flatMap(sshSettings(), ssh.connect))
  return SftpFileSystem.make(yield* session.sftp)
})

layer(peers, { excludeTestServices: true, timeout: "60 seconds" })("a file system over OpenSSH", (it) => {
  for (const [name, body] of Object.entries(fileSystemSuite)) {
    it.effect(name, () =>
      Effect.gen(function*() {
        const fs = yield* remote
        return yield* body(fs, yield* fs.makeTempDirectoryScoped())
      }))
  }
})

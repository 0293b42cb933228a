/** What tests of transfers need: a folder here, one of the login user, and sessions. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Stream from "effect/Stream"
import * as Crypto from "node:crypto"
import * as Ssh from "../../../src/services/Ssh.ts"
import type { SshSession } from "../../../src/services/SshSession.ts"
import type * as SshSettings from "../../../src/services/SshSettings.ts"
import { emptyFolder } from "../../support/trees.ts"
import { sshSettings } from "./openssh.ts"

/** Connects; to the first sshd unless settings of another are given. */
export const connect = Effect.fnUntraced(function*(settings?: SshSettings.SshSettings) {
  const ssh = yield* Ssh.Ssh
  return yield* ssh.connect(settings ?? (yield* sshSettings()))
})

/** A session, an empty folder here and an empty one there. Both are on this machine, and tests look into either. */
export const places = Effect.fnUntraced(function*(settings?: SshSettings.SshSettings) {
  const session = yield* connect(settings)
  const here = yield* emptyFolder
  const there = (yield* session.execute("mktemp -d -p ~")).text.trim()
  return { session, here, there }
})

/** The process on the server that serves a session: the parent of its shells. */
export const servedBy = (session: SshSession) => Effect.map(session.execute("echo $PPID"), ({ text }) => Number(text))

/** A file of this many bytes that are not alike, and its SHA-256. */
export const randomFile = Effect.fnUntraced(function*(path: string, size: number) {
  const fs = yield* FileSystem.FileSystem
  const block = Crypto.randomBytes(Math.min(size, 4 * 1024 * 1024))
  const blocks = Stream.range(1, Math.ceil(size / block.length)).pipe(
    Stream.map((count) => {
      block.writeUInt32BE(count)
      return Uint8Array.from(block.subarray(0, Math.min(block.length, size - (count - 1) * block.length)))
    })
  )
  yield* Stream.run(blocks, fs.sink(path))
  return yield* sha256(path)
})

/** The SHA-256 of a file of this machine. */
export const sha256 = Effect.fnUntraced(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  const hash = Crypto.createHash("sha256")
  yield* Stream.runForEach(
    fs.stream(path, { chunkSize: 1024 * 1024 }),
    (chunk) => Effect.sync(() => hash.update(chunk))
  )
  return hash.digest("hex")
})

/** Asserts that a folder has just these names in it, hidden ones included. */
export const onlyNames = Effect.fnUntraced(function*(path: string, ...names: ReadonlyArray<string>) {
  const fs = yield* FileSystem.FileSystem
  assert.deepStrictEqual((yield* fs.readDirectory(path)).toSorted(), names.toSorted())
})

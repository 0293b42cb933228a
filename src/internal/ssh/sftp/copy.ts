import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { SshErrorReason } from "../../../errors/SshError.ts"
import type { Client } from "./client.ts"
import * as Operations from "./operations.ts"
import * as Transfer from "./transfer.ts"

/** Copies a file, on the server where it can do that, and else through the client. What is made gets the source's mode. */
export const copy = (
  client: Client,
  from: string,
  to: string,
  flag: FileSystem.OpenFlag
): Effect.Effect<void, SshErrorReason> =>
  Effect.scoped(Effect.gen(function*() {
    const source = yield* Operations.scoped(client, Operations.openFile(client, from, "r", undefined))
    const { mode } = yield* Operations.fstat(client, source)
    const target = yield* Operations.scoped(client, Operations.openFile(client, to, flag, Option.getOrUndefined(mode)))
    yield* client.extensions.has("copy-data")
      ? Operations.copyData(client, source, target)
      : Stream.run(
        Stream.fromPull(Transfer.reads(client, source, undefined)),
        Transfer.writesTo(client, target, undefined)
      )
  }))

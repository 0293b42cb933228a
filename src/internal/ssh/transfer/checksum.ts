import * as Effect from "effect/Effect"
import * as CommandLine from "effect/process/CommandLine"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import { SshError, type SshErrorReason, TransferProtocol, Unsupported } from "../../../errors/SshError.ts"
import type { Client } from "../sftp/client.ts"
import { Kind } from "../sftp/packet.ts"

/** Runs a command on the server to its end. */
export type Execute = (
  command: string
) => Effect.Effect<{ readonly text: string; readonly errorText: string }, SshError>

// read by redirection: a name is no option then, and is not printed
const script = `{ sha256sum || shasum -a 256 || sha256 -q || openssl dgst -sha256 -r; } < "$1"`

/** A command line of words that the server's shell is not to look into. */
export const commandLine = (...words: ReadonlyArray<string>): Effect.Effect<string, TransferProtocol> =>
  Result.match(CommandLine.join(words), {
    onSuccess: Effect.succeed,
    onFailure: ({ message }) => Effect.fail(new TransferProtocol({ detail: message }))
  })

const byCommand = Effect.fnUntraced(function*(server: string, execute: Execute, path: string) {
  const failed = (reason: SshErrorReason) => new SshError({ server, reason })
  const command = yield* Effect.mapError(commandLine("sh", "-c", script, "sh", path), failed)
  const { errorText, text } = yield* execute(command)
  const [digits] = /\b[0-9a-f]{64}\b/.exec(text) ?? []
  return digits ?? (yield* failed(
    new Unsupported({ feature: "other", detail: `the server computed no SHA-256 of ${path}: ${errorText.trim()}` })
  ))
})

const digestSize = 32

/** Asks for the whole file as one block (draft-ietf-secsh-filexfer-extensions-00, section 3). */
const byExtension = (server: string, { requests }: Client, path: string): Effect.Effect<string, SshError> => {
  const fields = ["check-file-name", path, "sha256", 0n, 0n, 0]
  return requests.ask({ operation: "check-file", path }, Kind.Extended, fields, Kind.ExtendedReply, (cursor) =>
    // servers differ in what they say before the digest
    cursor.rest().subarray(-digestSize).toString("hex")).pipe(
      Effect.mapError((reason) => new SshError({ server, reason }))
    )
}

/** How many commands run at once: servers have few channels, and ProFTPD hangs up where one asks for too many. */
const commandsAtOnce = 4

/** Gives the SHA-256 of a file on the server, in hexadecimal digits, computed there. */
export const sha256 = (server: string, execute: Execute, client: Client) => {
  const commands = Semaphore.makeUnsafe(commandsAtOnce)
  let asks = client.extensions.has("check-file")
  return (path: string): Effect.Effect<string, SshError> => {
    const extension = byExtension(server, client, path)
    // ProFTPD runs no commands, and knows the extension without saying so
    const command = Effect.catchIf(
      byCommand(server, execute, path),
      ({ reason }) => reason._tag === "ChannelRefused",
      () => {
        asks = true
        return extension
      }
    )
    return Effect.suspend(() =>
      asks ? extension : commands.withPermit(Effect.suspend(() => asks ? extension : command))
    )
  }
}

import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import { TlsConfigError } from "../../errors/TlsConfigError.ts"

/** Takes a line of the NSS key log format, with its end. */
export type KeyLog = (line: Buffer) => void

/** Only who runs the program may read the keys. */
const mode = 0o600

/** A file that lines are appended to; several programs may append to one. */
export const open = (path: string): Effect.Effect<KeyLog, TlsConfigError> =>
  Effect.try({
    try: () => {
      Fs.appendFileSync(path, "", { mode })
      // a disk that is full later must not break connections
      return (line: Buffer) => Fs.appendFile(path, line, { mode }, () => {})
    },
    catch: (cause) => new TlsConfigError({ option: "keyLog", detail: `cannot write to the file "${path}"`, cause })
  })

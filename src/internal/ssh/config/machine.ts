import * as Effect from "effect/Effect"
import * as Os from "node:os"
import { Unknown } from "../../../errors/SshError.ts"
import type { Environment } from "./tokens.ts"

/** What configuration files may ask about where they are read, and by whom. */
export interface Machine {
  readonly hostname: string
  readonly username: string
  readonly uid: number
  /** Of the system's list of users, as ssh has it, whatever `HOME` says. */
  readonly home: string
  readonly environment: Environment
  /** Of the whole system: its `ssh_config`, and where what it includes is. */
  readonly systemFile: string
  readonly systemFolder: string
}

const systemFolder = process.platform === "win32" ? `${process.env["PROGRAMDATA"]}\\ssh` : "/etc/ssh"

/** This machine and the user of this process. */
export const here = (environment: Environment = process.env): Effect.Effect<Machine, Unknown> =>
  Effect.map(
    Effect.try({
      try: () => Os.userInfo(),
      catch: (cause) => new Unknown({ detail: "the system does not know the user of this process", cause })
    }),
    ({ homedir, uid, username }) => ({
      hostname: Os.hostname(),
      username,
      uid,
      home: homedir,
      environment,
      systemFile: `${systemFolder}/ssh_config`,
      systemFolder
    })
  )

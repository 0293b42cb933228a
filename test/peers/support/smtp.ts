/** The dialogue of SMTP (RFC 5321) with STARTTLS (RFC 3207), from both sides: aiosmtpd's server, and one of ours. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as Scope from "effect/Scope"
import type { DialError } from "../../../src/errors/DialError.ts"
import type { TcpError } from "../../../src/errors/TcpError.ts"
import type { TlsConfigError } from "../../../src/errors/TlsConfigError.ts"
import type { TlsOptions } from "../../../src/layers/Tls.ts"
import type { Connection } from "../../../src/services/Connection.ts"
import { Certificates } from "./certificates.ts"
import { folder, onFreePorts, start } from "./peer.ts"

const aiosmtpd = { command: "aiosmtpd", package: "python3-aiosmtpd" }

/** Starts a server that wants STARTTLS; gives its port and the mails that it has accepted. */
export const smtpServer = Effect.gen(function*() {
  const { server } = yield* Certificates
  const fs = yield* FileSystem.FileSystem
  const directory = yield* folder("smtp")
  const port = yield* onFreePorts(1, ([port]) =>
    Effect.as(
      start(aiosmtpd, {
        args: ["-n", "-l", `127.0.0.1:${port}`, "--tlscert", server.cert, "--tlskey", server.key]
          .concat("-c", "aiosmtpd.handlers.Mailbox", `${directory}/mail`),
        cwd: directory,
        ports: [port!]
      }),
      port!
    ))
  const accepted = fs.readDirectory(`${directory}/mail/new`).pipe(
    Effect.flatMap(Effect.forEach((name) => fs.readFileString(`${directory}/mail/new/${name}`))),
    Effect.orDie
  )
  return { port, accepted }
})

/** Reads an answer, all of its lines; gives its code and their texts. */
export const answer = (connection: Connection): Effect.Effect<readonly [number, ReadonlyArray<string>], TcpError> =>
  Effect.gen(function*() {
    const texts: Array<string> = []
    for (;;) {
      const line = yield* connection.readLine()
      texts.push(line.slice(4))
      if (line[3] !== "-") return [Number(line.slice(0, 3)), texts]
    }
  })

/** Says a line and reads the answer. */
export const say = (connection: Connection, line: string) =>
  Effect.andThen(connection.write(`${line}\r\n`), answer(connection))

/** Serves a client of ours: takes its mails, after STARTTLS only, and hands them to `deliver`. */
export const serveSmtp = (
  tls: TlsOptions,
  deliver: (mail: ReadonlyArray<string>) => void
): (connection: Connection) => Effect.Effect<void, DialError | TcpError | TlsConfigError, Scope.Scope> => {
  const dialogue = (
    connection: Connection,
    secure: boolean
  ): Effect.Effect<void, DialError | TcpError | TlsConfigError, Scope.Scope> =>
    Effect.gen(function*() {
      for (;;) {
        const [verb] = (yield* connection.readLine()).toUpperCase().split(" ")
        switch (verb) {
          case "EHLO":
            yield* connection.write(`250-localhost\r\n250${secure ? " " : "-STARTTLS\r\n250 "}8BITMIME\r\n`)
            break
          case "STARTTLS":
            return yield* Effect.flatMap(
              connection.upgradeTls(tls, { reply: "220 go ahead\r\n" }),
              (encrypted) => dialogue(encrypted, true)
            )
          case "MAIL":
          case "RCPT":
            yield* connection.write(secure ? "250 ok\r\n" : "530 say STARTTLS first\r\n")
            break
          case "DATA": {
            yield* connection.write("354 end with a dot\r\n")
            const mail: Array<string> = []
            for (let line: string; (line = yield* connection.readLine()) !== ".";) mail.push(line.replace(/^\./, ""))
            deliver(mail)
            yield* connection.write("250 delivered\r\n")
            break
          }
          case "QUIT":
            return yield* connection.write("221 bye\r\n")
          default:
            yield* connection.write("500 unknown\r\n")
        }
      }
    })
  return (connection) => Effect.andThen(connection.write("220 localhost ESMTP\r\n"), dialogue(connection, false))
}

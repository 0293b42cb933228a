import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Dialer from "../../src/services/Dialer.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import { Certificates } from "./support/certificates.ts"
import { ourServer } from "./support/ourServer.ts"
import { run, services } from "./support/peer.ts"
import { answer, say, serveSmtp, smtpServer } from "./support/smtp.ts"
import { socat } from "./support/socat.ts"

/** Connects, and says who we are. */
const connect = Effect.fnUntraced(function*(port: number) {
  const tcp = yield* TcpClient.TcpClient
  const connection = yield* tcp.connect({ host: "127.0.0.1", port })
  assert.strictEqual((yield* answer(connection))[0], 220)
  const [code, extensions] = yield* say(connection, "EHLO client.test")
  assert.strictEqual(code, 250)
  assert.include(extensions, "STARTTLS")
  return connection
})

const peers = Layer.mergeAll(Certificates.layer, TcpClient.layer.pipe(Layer.provide(Dialer.layer)), services)

layer(peers, { excludeTestServices: true, timeout: "60 seconds" })("aiosmtpd", (it) => {
  it.effect("takes our mail after STARTTLS, and not before", () =>
    Effect.gen(function*() {
      const { ca } = yield* Certificates
      const { accepted, port } = yield* smtpServer
      const plain = yield* connect(port)
      assert.strictEqual((yield* say(plain, "MAIL FROM:<a@client.test>"))[0], 530)
      assert.strictEqual((yield* say(plain, "STARTTLS"))[0], 220)
      const encrypted = yield* plain.upgradeTls({ ca })
      assert.match(Option.getOrThrow(encrypted.tls).protocol, /^TLSv1/)
      // what was said before does not count any more (RFC 3207, section 4.2), and TLS is not offered twice
      const [, extensions] = yield* say(encrypted, "EHLO client.test")
      assert.notInclude(extensions, "STARTTLS")
      assert.strictEqual((yield* say(encrypted, "MAIL FROM:<a@client.test>"))[0], 250)
      assert.strictEqual((yield* say(encrypted, "RCPT TO:<b@server.test>"))[0], 250)
      assert.strictEqual((yield* say(encrypted, "DATA"))[0], 354)
      const body = Array.from({ length: 20_000 }, (_, i) => `line ${i}`)
      yield* encrypted.writeAll(["Subject: by Hawser\r\n\r\n", ...body.map((line) => `${line}\r\n`)])
      assert.strictEqual((yield* say(encrypted, "."))[0], 250)
      assert.strictEqual((yield* say(encrypted, "QUIT"))[0], 221)
      const [mail] = yield* accepted
      assert.include(mail, "Subject: by Hawser")
      assert.deepStrictEqual(mail?.split("\n").filter((line) => line.startsWith("line ")), body)
    }))

  it.effect("is not told anything when its certificate is not trusted", () =>
    Effect.gen(function*() {
      const { otherCa } = yield* Certificates
      const { port } = yield* smtpServer
      const plain = yield* connect(port)
      assert.strictEqual((yield* say(plain, "STARTTLS"))[0], 220)
      const error = yield* Effect.flip(plain.upgradeTls({ ca: otherCa }))
      assert.strictEqual(error._tag, "DialError")
      if (error._tag === "DialError") assert.deepInclude(error.reason, { _tag: "TlsHandshake", check: "issuer" })
      assert.strictEqual((yield* Effect.flip(plain.write("QUIT\r\n"))).reason._tag, "Closed")
    }))
})

layer(peers, { excludeTestServices: true, timeout: "60 seconds" })("our SMTP server", (it) => {
  it.effect("is verified by openssl after STARTTLS", () =>
    Effect.gen(function*() {
      const { ca, server } = yield* Certificates
      for (const version of ["-tls1_2", "-tls1_3"]) {
        const address = yield* ourServer(serveSmtp(server, () => {}))
        const got = yield* run(
          { command: "openssl", package: "openssl" },
          ["s_client", "-starttls", "smtp", "-connect", address, "-CAfile", ca, "-verify_return_error", version]
            .concat("-verify_hostname", "localhost", "-brief", "-ign_eof"),
          { stdin: Stream.encodeText(Stream.make("QUIT\r\n")) }
        )
        assert.match(got, /Verification: OK/)
        assert.match(got, /^221 bye/m)
      }
    }))

  it.effect("hangs up on socat when it says more in the clear behind STARTTLS, and does not answer it", () =>
    Effect.gen(function*() {
      const { server } = yield* Certificates
      const address = yield* ourServer(serveSmtp(server, () => {}))
      const got = yield* run(socat, ["-t", "30", "-", `TCP:${address}`], {
        stdin: Stream.encodeText(Stream.make("EHLO x\r\nSTARTTLS\r\nMAIL FROM:<a@client.test>\r\n"))
      }).pipe(Effect.timeout("20 seconds"))
      assert.include(got, "STARTTLS")
      assert.notInclude(got, "530")
    }))

  it.effect("takes the mails of Python's smtplib after STARTTLS", () =>
    Effect.gen(function*() {
      const { ca, server } = yield* Certificates
      const mails: Array<ReadonlyArray<string>> = []
      const address = yield* ourServer(serveSmtp(server, (mail) => void mails.push(mail)))
      const script = `
import smtplib, ssl, sys
with smtplib.SMTP("127.0.0.1", int(sys.argv[1])) as smtp:
  smtp.starttls(context=ssl.create_default_context(cafile=sys.argv[2]))
  for text in ["first", ".dot\\r\\n..two"]:
    smtp.sendmail("a@client.test", "b@server.test", "Subject: x\\r\\n\\r\\n" + text)
`
      const python = { command: "/usr/bin/python3", package: "python3-aiosmtpd" }
      yield* run(python, ["-c", script, address.split(":")[1]!, ca])
      assert.deepStrictEqual(mails, [["Subject: x", "", "first"], ["Subject: x", "", ".dot", "..two"]])
    }))
})

import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { SocketAddress } from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as Tls from "../../src/layers/Tls.ts"
import * as Connection from "../../src/services/Connection.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import { describeParity } from "../support/network.ts"
import { failureOf } from "../support/parity.ts"
import { connected, read, resetByUs } from "../support/streams.ts"
import { serving } from "../support/tcpServers.ts"

const names = ["localhost", "127.0.0.1"]
const authority = TestCertificates.authority()
const daysFromNow = (days: number) => new Date(Date.now() + days * 86_400_000)

const echoLine = (connection: Connection.Connection) =>
  Effect.flatMap(connection.readLine(), (line) => connection.write(`${line}\n`))

/** Dials over TLS, says a line and gives what comes back. */
const greet = (address: SocketAddress, options: Tls.TlsOptions) =>
  Effect.gen(function*() {
    const connection = yield* Connection.fromDuplex(yield* Dialer.Dialer.use((dialer) => dialer.dial(address)))
    yield* connection.write("hello\n")
    return { answer: yield* connection.readLine(), tls: Option.getOrThrow(connection.tls) }
  }).pipe(Effect.scoped, Effect.provide(Tls.layer(options)))

/** How a dial over TLS fails, without the text of the certificate, which differs from run to run. */
const refusal = Effect.fnUntraced(function*(address: SocketAddress, options: Tls.TlsOptions) {
  const { check, code, error, hop, servername } = yield* failureOf(greet(address, options))
  return { check, code, error, hop, servername }
})

const refused = (check: string, code: string) => ({
  error: "DialError: TlsHandshake",
  hop: "tls",
  servername: "127.0.0.1",
  check,
  code
})

describeParity("TLS", (test) => {
  test("agrees on the same", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* authority
      const { address } = yield* serving(echoLine, { tls: { ...(yield* issue({ names })), alpn: ["h2", "line"] } })
      const { answer, tls } = yield* greet(address, { ca, alpn: ["line"] })
      assert.strictEqual(answer, "hello")
      assert.deepInclude(tls, { protocol: "TLSv1.3", alpn: "line", resumed: false })
    }))

  test("refuses on the same checks, with the same codes", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* authority
      const at = (certificate: Effect.Effect<Tls.TlsOptions>) =>
        Effect.flatMap(certificate, (tls) => Effect.map(serving(echoLine, { tls }), ({ address }) => address))
      const right = yield* at(issue({ names }))
      const h2 = yield* at(Effect.map(issue({ names }), (tls) => ({ ...tls, alpn: ["h2"] })))
      const pin = `sha256/${"A".repeat(43)}=`
      const attempts: ReadonlyArray<readonly [SocketAddress, Tls.TlsOptions, ReturnType<typeof refused>]> = [
        [right, {}, refused("issuer", "UNABLE_TO_VERIFY_LEAF_SIGNATURE")],
        [right, { ca, pin }, refused("pin", "PIN_MISMATCH")],
        [yield* at(issue({ names: ["db.test"] })), { ca }, refused("name", "ERR_TLS_CERT_ALTNAME_INVALID")],
        [yield* at(issue({ names, notAfter: daysFromNow(-1) })), { ca }, refused("expired", "CERT_HAS_EXPIRED")],
        [yield* at(issue({ names, notBefore: daysFromNow(1) })), { ca }, refused("notYetValid", "CERT_NOT_YET_VALID")],
        [h2, { ca, alpn: ["x"] }, refused("protocol", "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL")]
      ]
      for (const [address, options, expected] of attempts) {
        assert.deepStrictEqual(yield* refusal(address, options), expected)
      }
    }))

  test("fails on what is no TLS, on an end and on a reset in the middle", () =>
    Effect.gen(function*() {
      const { accept, address } = yield* Listener.Listener.use((listener) => listener.bind("127.0.0.1:0"))
      const answers: ReadonlyArray<
        readonly [(connection: Connection.Connection) => Effect.Effect<unknown, unknown>, ReturnType<typeof refused>]
      > = [
        [
          (connection) => connection.write("220 mail.test ready\r\n"),
          refused("protocol", "ERR_SSL_WRONG_VERSION_NUMBER")
        ],
        [(connection) => connection.closeWrite, refused("closed", "ECONNRESET")]
      ]
      for (const [answer, expected] of answers) {
        const peer = yield* Effect.forkScoped(Effect.gen(function*() {
          const connection = yield* Connection.fromDuplex(yield* accept)
          yield* connection.readExactly(1)
          yield* answer(connection)
          yield* Effect.exit(connection.closed)
        }))
        assert.deepStrictEqual(yield* refusal(address, {}), expected)
        yield* Fiber.interrupt(peer)
      }
      yield* Effect.forkScoped(Effect.flatMap(accept, (duplex) => Effect.andThen(read(duplex, 1), resetByUs(duplex))))
      assert.deepStrictEqual(yield* refusal(address, {}), refused("closed", "ECONNRESET"))
    }))

  test("tells a client without a certificate when it first reads", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* authority
      const { address } = yield* serving(echoLine, {
        tls: { ...(yield* issue({ names })), ca, requestClientCertificate: true }
      })
      const told = yield* failureOf(greet(address, { ca }))
      assert.deepStrictEqual(told, {
        error: "TcpError: Reset",
        code: "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED",
        cause: "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED",
        message: "the connection broke (ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED)"
      })
      const client = yield* issue({ names: [], commonName: "alice", client: true })
      assert.strictEqual((yield* greet(address, { ca, ...client })).answer, "hello")
    }))

  test("refuses, on both sides, to upgrade what has unread plain text", () =>
    Effect.gen(function*() {
      const { issue } = yield* authority
      const certificate = yield* issue({ names })
      for (const side of ["client", "server"] as const) {
        const { client, server } = yield* connected()
        const near = yield* Connection.fromDuplex(client)
        const far = yield* Connection.fromDuplex(server, { role: "accepted" })
        const [victim, injector] = side === "client" ? [near, far] : [far, near]
        yield* injector.write("go\nand more")
        assert.strictEqual(yield* victim.readLine(), "go")
        // all of it is there before the upgrade begins
        yield* victim.unread(yield* victim.readExactly("and more".length))
        assert.deepStrictEqual(yield* failureOf(victim.upgradeTls(side === "client" ? {} : certificate)), {
          error: "TcpError: PlaintextBuffered",
          received: 8,
          message: "8 unread bytes arrived before the upgrade to TLS, which could be an injection"
        })
      }
    }))
})

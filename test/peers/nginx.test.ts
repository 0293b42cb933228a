import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { formatSocketAddress } from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as ProxyProtocol from "../../src/layers/ProxyProtocol.ts"
import * as Tls from "../../src/layers/Tls.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import { Certificates } from "./support/certificates.ts"
import { nginx } from "./support/nginx.ts"
import { echo, ourServer } from "./support/ourServer.ts"
import { services } from "./support/peer.ts"

const connectOver = <E>(network: Layer.Layer<Dialer.Dialer, E>, port: number) =>
  Effect.flatMap(TcpClient.TcpClient, (tcp) => tcp.connect({ host: "127.0.0.1", port })).pipe(
    Effect.provide(TcpClient.layer.pipe(Layer.provide(network)))
  )

const connect = (port: number, tls?: Tls.TlsOptions) =>
  connectOver(tls === undefined ? Dialer.layer : Tls.layer(tls).pipe(Layer.provide(Dialer.layer)), port)

/** A way on which each connection begins with a PROXY header. */
const announced = (options: ProxyProtocol.SendOptions) => ProxyProtocol.layer(options).pipe(Layer.provide(Dialer.layer))

/** How nginx is told of a certificate. */
const certificate = ({ cert, key }: { readonly cert: string; readonly key: string }) =>
  `ssl_certificate ${cert}; ssl_certificate_key ${key};`

const peers = Layer.merge(Certificates.layer, services)

layer(peers, { excludeTestServices: true, timeout: "60 seconds" })("nginx", (it) => {
  it.effect("decrypts what we send and passes it on to our server", () =>
    Effect.gen(function*() {
      const { ca, server } = yield* Certificates
      const upstream = yield* ourServer(echo)
      const [port] = yield* nginx(1, ([port]) =>
        `server { listen 127.0.0.1:${port} ssl; ${certificate(server)} ssl_alpn redis h2; proxy_pass ${upstream}; }`)
      const connection = yield* connect(port!, { ca, alpn: ["h2", "redis"] })
      const { alpn, protocol } = Option.getOrThrow(connection.tls)
      assert.deepStrictEqual([protocol, alpn], ["TLSv1.3", "redis"])
      yield* connection.write("there and back\n")
      assert.strictEqual(yield* connection.readLine(), "there and back")
      yield* connection.closeWrite
      assert.strictEqual((yield* Effect.flip(connection.read())).reason._tag, "EndOfStream")
    }))

  it.effect("sees our client certificate, and hangs up without a word on who has none", () =>
    Effect.gen(function*() {
      const { ca, client, server } = yield* Certificates
      const [port] = yield* nginx(1, ([port]) =>
        `server { listen 127.0.0.1:${port} ssl; ${certificate(server)} ssl_client_certificate ${ca};
           ssl_verify_client on; return "$ssl_client_verify $ssl_client_s_dn\\n"; }`)
      const known = yield* connect(port!, { ca, ...client })
      assert.strictEqual(yield* known.readLine(), "SUCCESS CN=client")
      const unknown = yield* connect(port!, { ca })
      assert.strictEqual((yield* Effect.flip(unknown.read())).reason._tag, "EndOfStream")
    }))

  for (const protocol of ["TLSv1.2", "TLSv1.3"]) {
    it.effect(`resumes our session in ${protocol}`, () =>
      Effect.gen(function*() {
        const { ca, server } = yield* Certificates
        const [port] = yield* nginx(1, ([port]) =>
          `server { listen 127.0.0.1:${port} ssl; ssl_protocols ${protocol}; ${certificate(server)}
             return "$ssl_protocol $ssl_session_reused\\n"; }`)
        const visits = (options: Tls.TlsOptions) =>
          Effect.gen(function*() {
            const tcp = yield* TcpClient.TcpClient
            return yield* Effect.forEach([1, 2, 3], () =>
              Effect.scoped(
                Effect.flatMap(tcp.connect({ host: "127.0.0.1", port: port! }), (connection) =>
                  connection.readLine())
              ))
          }).pipe(
            Effect.provide(TcpClient.layer.pipe(Layer.provide(Tls.layer(options)), Layer.provide(Dialer.layer)))
          )
        // "." is a new session, "r" one that was taken up again
        assert.deepStrictEqual(yield* visits({ ca }), [`${protocol} .`, `${protocol} r`, `${protocol} r`])
        assert.deepStrictEqual(
          yield* visits({ ca, resumption: false }),
          [`${protocol} .`, `${protocol} .`, `${protocol} .`]
        )
      }))
  }

  it.effect("finds the way by the name that we ask for, without decrypting", () =>
    Effect.gen(function*() {
      const { ca, named, server } = yield* Certificates
      const [port] = yield* nginx(3, ([port, other, local]) =>
        `map $ssl_preread_server_name $to { other.test 127.0.0.1:${other}; default 127.0.0.1:${local}; }
         server { listen 127.0.0.1:${port}; ssl_preread on; proxy_pass $to; }
         server { listen 127.0.0.1:${other} ssl; ${certificate(named)} return "$ssl_server_name\\n"; }
         server { listen 127.0.0.1:${local} ssl; ${certificate(server)} return "no name: $ssl_server_name\\n"; }`)
      const greeting = (servername?: string) =>
        Effect.flatMap(connect(port!, { ca, servername }), (connection) =>
          connection.readLine())
      assert.strictEqual(yield* greeting("other.test"), "other.test")
      // RFC 6066: an address is no server name
      assert.strictEqual(yield* greeting(), "no name: ")
    }))

  it.effect("is a client of our TLS server, which demands its certificate", () =>
    Effect.gen(function*() {
      const { ca, client, server, stranger } = yield* Certificates
      const upstream = yield* ourServer(
        (connection) =>
          Effect.gen(function*() {
            const { peer, protocol } = Option.getOrThrow(connection.tls)
            yield* connection.write(`${protocol} ${peer?.subject}: ${yield* connection.readLine()}\n`)
          }),
        { tls: { ...server, ca, requestClientCertificate: true } }
      )
      const verified = `proxy_pass ${upstream}; proxy_ssl on; proxy_ssl_protocols TLSv1.3; proxy_ssl_verify on;
        proxy_ssl_trusted_certificate ${ca}; proxy_ssl_name localhost; proxy_ssl_server_name on; proxy_ssl_session_reuse off;`
      const ports = yield* nginx(2, (ports) =>
        [client, stranger].map(({ cert, key }, i) =>
          `server { listen 127.0.0.1:${ports[i]}; ${verified}
             proxy_ssl_certificate ${cert}; proxy_ssl_certificate_key ${key}; }`
        ).join("\n"))
      const known = yield* connect(ports[0]!)
      yield* known.write("hello\n")
      assert.strictEqual(yield* known.readLine(), "TLSv1.3 CN=client: hello")
      const unknown = yield* connect(ports[1]!)
      assert.strictEqual((yield* Effect.flip(unknown.read())).reason._tag, "EndOfStream")
    }))

  for (const version of [1, 2] as const) {
    it.effect(`reads in our PROXY header of version ${version} who the client is`, () =>
      Effect.gen(function*() {
        const { ca, server } = yield* Certificates
        const says =
          "$proxy_protocol_addr:$proxy_protocol_port to $proxy_protocol_server_addr:$proxy_protocol_server_port"
        const [port, tlsPort] = yield* nginx(2, ([port, tlsPort]) =>
          `server { listen 127.0.0.1:${port} proxy_protocol; return "${says}\\n"; }
           server { listen 127.0.0.1:${tlsPort} ssl proxy_protocol; ${certificate(server)} return "${says}\\n"; }`)
        const own = yield* connectOver(announced({ version }), port!)
        const address = formatSocketAddress(Option.getOrThrow(own.localAddress))
        assert.strictEqual(yield* own.readLine(), `${address} to 127.0.0.1:${port}`)

        const four = { version, source: "192.0.2.7:4321", destination: "198.51.100.1:443" }
        const six = { version, source: "[2001:db8::7]:4321", destination: "[2001:db8::1]:443" }
        assert.strictEqual(
          yield* (yield* connectOver(announced(four), port!)).readLine(),
          "192.0.2.7:4321 to 198.51.100.1:443"
        )
        assert.strictEqual(
          yield* (yield* connectOver(announced(six), port!)).readLine(),
          "2001:db8::7:4321 to 2001:db8::1:443"
        )
        // the header comes before TLS
        const encrypted = yield* connectOver(Tls.layer({ ca }).pipe(Layer.provide(announced(four))), tlsPort!)
        assert.strictEqual(yield* encrypted.readLine(), "192.0.2.7:4321 to 198.51.100.1:443")
      }))
  }

  it.effect("tells our server in a PROXY header who the client is", () =>
    Effect.gen(function*() {
      const upstream = yield* ourServer(
        (connection) =>
          Effect.gen(function*() {
            const address = formatSocketAddress(Option.getOrThrow(connection.remoteAddress))
            yield* connection.write(`${address} says ${yield* connection.readLine()}\n`)
          }),
        { proxyProtocol: { trusted: ["127.0.0.1"] } }
      )
      const [port, inner] = yield* nginx(2, ([port, inner]) =>
        `server { listen 127.0.0.1:${port}; proxy_pass ${upstream}; proxy_protocol on; }
         server { listen 127.0.0.1:${inner} proxy_protocol; set_real_ip_from 127.0.0.1;
           proxy_pass ${upstream}; proxy_protocol on; }`)
      const own = yield* connect(port!)
      yield* own.write("hello\n")
      const address = formatSocketAddress(Option.getOrThrow(own.localAddress))
      assert.strictEqual(yield* own.readLine(), `${address} says hello`)
      // and whom a relay before it has told it of
      const others = yield* connectOver(
        announced({ source: "192.0.2.7:4321", destination: "198.51.100.1:443" }),
        inner!
      )
      yield* others.write("hello\n")
      assert.strictEqual(yield* others.readLine(), "192.0.2.7:4321 says hello")
    }))
})

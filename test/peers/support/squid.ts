/**
 * squid as HTTP CONNECT proxy: a port that asks for a password, one that does not, one that is reached over TLS, one that
 * wants a client certificate for that.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import { rawServer } from "../../support/servers.ts"
import { certificates } from "./certificates.ts"
import { files, folder, onFreePorts, run, services, start } from "./peer.ts"

const squid = { command: "/usr/sbin/squid", package: "squid-openssl" }

interface Ports {
  readonly port: number
  readonly openPort: number
  readonly tlsPort: number
  readonly mtlsPort: number
  readonly forbiddenPort: number
}

// the DNS settings keep a name that does not exist from hanging
const config = (
  ports: Ports,
  folder: string,
  { ca, server }: Effect.Success<typeof certificates>
) => `
http_port 127.0.0.1:${ports.port}
http_port 127.0.0.1:${ports.openPort} name=open
https_port 127.0.0.1:${ports.tlsPort} tls-cert=${server.cert} tls-key=${server.key}
https_port 127.0.0.1:${ports.mtlsPort} name=mtls tls-cert=${server.cert} tls-key=${server.key} clientca=${ca}
pid_filename ${folder}/run/squid.pid
cache_effective_user proxy
cache_log ${folder}/run/cache.log
access_log none
coredump_dir none
cache deny all
cache_mem 8 MB
netdb_filename none
pinger_enable off
shutdown_lifetime 0 seconds
dns_nameservers 127.0.0.1
dns_timeout 1 seconds
dns_retransmit_interval 1 seconds
udp_incoming_address 127.0.0.1
hosts_file ${folder}/hosts
visible_hostname peer-squid
auth_param basic program /usr/lib/squid/basic_ncsa_auth ${folder}/passwd
auth_param basic realm peers
auth_param basic children 2
acl authed proxy_auth REQUIRED
acl openport myportname open mtls
acl forbidden port ${ports.forbiddenPort}
http_access deny forbidden
http_access allow openport
http_access allow authed
http_access deny all
`

const make = Effect.gen(function*() {
  const directory = yield* folder("squid")
  const certs = yield* certificates
  const fs = yield* FileSystem.FileSystem
  const [username, password] = ["peer", "s3cret:ü"] as const
  const hash = yield* run({ command: "openssl", package: "openssl" }, ["passwd", "-apr1", password])
  yield* files(directory, { passwd: `${username}:${hash}\n`, hosts: "127.0.0.1 localhost\n::1 six.test\n" })
  // it writes its files as the user to whom it drops its privileges
  yield* Effect.orDie(fs.makeDirectory(`${directory}/run`))
  yield* run({ command: "chown", package: "coreutils" }, ["proxy:", `${directory}/run`])
  // held, or else it may become the port of another peer
  const { port: forbiddenPort } = yield* rawServer()
  const ports = yield* onFreePorts(4, ([port, openPort, tlsPort, mtlsPort]) =>
    Effect.gen(function*() {
      const ports: Ports = {
        port: port!,
        openPort: openPort!,
        tlsPort: tlsPort!,
        mtlsPort: mtlsPort!,
        forbiddenPort
      }
      yield* files(directory, { "squid.conf": config(ports, directory, certs) })
      yield* start(squid, {
        args: ["-N", "-d", "1", "-f", `${directory}/squid.conf`],
        cwd: directory,
        ports: [ports.port, ports.openPort, ports.tlsPort, ports.mtlsPort]
      })
      return ports
    }))
  return { host: "127.0.0.1", ...ports, username, password, certificates: certs }
})

/**
 * A running squid. `forbiddenPort` is a target it refuses, where a server listens; it knows localhost and, with an IPv6
 * address only, six.test.
 */
export class Squid extends Context.Service<Squid, Effect.Success<typeof make>>()("test/peers/Squid") {
  static readonly layer = Layer.effect(this, make).pipe(Layer.provide(services))
}

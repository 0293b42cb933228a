/** The paths that need no other program. Each is a network of its own with what stands on the way. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Proxy from "../../src/layers/Proxy.ts"
import * as SshTunnel from "../../src/layers/SshTunnel.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { httpProxy, socksProxy } from "../support/loopbackProxies.ts"
import { temporaryFolder } from "../support/servers.ts"
import { sshServer } from "../support/ssh.ts"
import * as Path from "./path.ts"

const loopback = () => Layer.merge(Dialer.layer, Listener.layer)

const certificates = (mutual: boolean) =>
  Effect.gen(function*() {
    const { certificate, issue } = yield* TestCertificates.authority()
    const server = yield* issue({ names: ["localhost", "127.0.0.1"] })
    const client = mutual ? yield* issue({ names: ["client.test"], client: true }) : undefined
    return { certificates: { ca: certificate, server, client } }
  })

/** Through something on loopback. */
const through = <E, E1>(
  hop: Effect.Effect<Layer.Layer<Dialer.Dialer, E, Dialer.Dialer>, E1, Dialer.Dialer | Listener.Listener | Scope.Scope>
) => Path.layer(Layer.unwrap(hop).pipe(Layer.provideMerge(loopback())))

/** Under the name that a server has on the test network. */
const inMemory = Effect.succeed({ bind: { host: "server", port: 50051 } })

/** Paths on which every case runs. */
export const paths = {
  "directly": () => Path.layer(loopback()),
  "over TLS": () => Path.layer(loopback(), certificates(false)),
  "over mutual TLS": () => Path.layer(loopback(), certificates(true)),
  "over a unix socket": () =>
    Path.layer(loopback(), Effect.map(temporaryFolder, (folder) => ({ bind: { path: `${folder}/server.sock` } }))),
  "through SOCKS5": () => through(Effect.map(socksProxy(), ({ port }) => Proxy.layer(`socks5://127.0.0.1:${port}`))),
  "through HTTP CONNECT": () => through(Effect.map(httpProxy(), ({ port }) => Proxy.layer(`http://127.0.0.1:${port}`))),
  "through SSH": () => through(Effect.map(sshServer(), ({ settings }) => SshTunnel.layer(settings))),
  "on the test network": () => Path.layer(TestNetwork.layer(), inMemory)
}

const inPieces = (fragment: number) => () => Path.layer(TestNetwork.layer({ defaults: { fragment } }), inMemory)

/** For cases with payloads of a few kilobytes. */
export const byteByByte = { "on the test network, byte by byte": inPieces(1) }

/** For the others, with which byte by byte would take a turn of the event loop a million times. */
export const inSmallPieces = { "on the test network, in pieces of 13 bytes": inPieces(13) }

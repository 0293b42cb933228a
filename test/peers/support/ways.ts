/** Ways through real proxies and servers. Each is a network of its own. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Proxy from "../../../src/layers/Proxy.ts"
import * as SshTunnel from "../../../src/layers/SshTunnel.ts"
import * as Dialer from "../../../src/services/Dialer.ts"
import { Danted } from "./danted.ts"
import { OpenSsh, sshSettings } from "./openssh.ts"
import { Squid } from "./squid.ts"

const danted = () =>
  Layer.unwrap(
    Effect.map(Danted, ({ authPort, host, password, username }) =>
      Proxy.layer({ protocol: "socks5", host, port: authPort, username, password: Redacted.make(password) }))
  )

const squid = () =>
  Layer.unwrap(
    Effect.map(Squid, ({ host, password, port, username }) =>
      Proxy.layer({ protocol: "http", host, port, username, password: Redacted.make(password) }))
  )

const openSsh = () => Layer.unwrap(Effect.map(sshSettings(), SshTunnel.layer))

/** What the ways lead through. */
export const peers = Layer.mergeAll(Danted.layer, OpenSsh.layer, Squid.layer)

export const ways = {
  "directly": () => Dialer.layer,
  "through danted": () => danted().pipe(Layer.provide(Dialer.layer)),
  "through squid": () => squid().pipe(Layer.provide(Dialer.layer)),
  "through OpenSSH": () => openSsh().pipe(Layer.provide(Dialer.layer)),
  "through danted, squid and OpenSSH": () =>
    openSsh().pipe(Layer.provide(squid()), Layer.provide(danted()), Layer.provide(Dialer.layer))
}

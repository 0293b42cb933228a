import { Layer, Redacted } from "effect"
import { Dialer, Proxy } from "hawser"

export const Socks = Proxy.layer("socks5://127.0.0.1:1080")

export const Http = Proxy.layer({
  protocol: "http",
  host: "proxy.internal",
  port: 3128,
  username: "ops",
  password: Redacted.make("secret")
})

// a chain: the HTTP proxy first, and through it the SOCKS proxy
export const Chain = Socks.pipe(Layer.provide(Http), Layer.provide(Dialer.layer))

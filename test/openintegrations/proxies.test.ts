/** What the proxies of the system that this library replaces do, row by row, and their weakness, which is gone. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Net from "node:net"
import * as Dialer from "../../src/services/Dialer.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import { leavesNothing } from "../support/leaks.ts"
import { serve, takeUntil } from "../support/loopback.ts"
import { httpProxy, socksProxy } from "../support/loopbackProxies.ts"
import { turn } from "../support/scripted.ts"

const Live = TcpClient.layer.pipe(Layer.provide(Dialer.layer))

const ask = (target: Dialer.DialTarget, options?: TcpClient.RequestOptions) =>
  TcpClient.TcpClient.use((client) => client.requestString(target, "hello\n", options)).pipe(Effect.provide(Live))

const echo = serve((socket) =>
  Effect.callback<void>((resume) => {
    socket.once("close", () => resume(Effect.void)).pipe(socket)
  })
)

const credentials = { username: "login", password: "password" }
const resolve = () => "127.0.0.1"

describe("the proxies of openintegrations", () => {
  it.live("GetProxySettings(address, port, socks5/socks4/http, login, password): a call goes through such a proxy", () =>
    leavesNothing(Effect.gen(function*() {
      const port = yield* echo
      const target = `echo.internal:${port}`
      const open = yield* socksProxy({ resolve })
      const socks = yield* socksProxy({ resolve, credentials })
      const http = yield* httpProxy({ resolve, credentials })
      const login = { username: credentials.username, password: Redacted.make(credentials.password) }
      const host = "127.0.0.1"
      const proxies = [
        [{ protocol: "socks5", host, port: open.port }, open],
        [{ protocol: "socks4", host, port: open.port }, open],
        [{ protocol: "socks5", host, port: socks.port, ...login }, socks],
        [{ protocol: "http", host, port: http.port, ...login }, http]
      ] as const
      for (const [proxy, { seen }] of proxies) {
        assert.strictEqual(yield* ask(target, { proxy }), "hello\n")
        assert.strictEqual(seen.at(-1), target)
      }
    })))

  it.live("HTTP proxies are not unstable: an answer in any pieces, with the target's first bytes behind it, is understood", () =>
    leavesNothing(Effect.gen(function*() {
      const reply = "HTTP/1.0 200 Connection established\r\nVia: 1.0 somebody\r\n\r\nfirst\n"
      for (const size of [1, 2, 7, reply.length - 3, reply.length]) {
        const port = yield* serve(Effect.fnUntraced(function*(socket: Net.Socket) {
          yield* takeUntil(socket, "\r\n\r\n")
          for (let at = 0; at < reply.length; at += size) {
            socket.write(reply.slice(at, at + size))
            yield* turn
          }
          yield* takeUntil(socket, "hello\n")
        }))
        assert.strictEqual(yield* ask("db.test:80", { proxy: `http://127.0.0.1:${port}` }), "first\n")
      }
    })))
})

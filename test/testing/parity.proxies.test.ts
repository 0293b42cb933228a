import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Proxy from "../../src/layers/Proxy.ts"
import * as Connection from "../../src/services/Connection.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import { describeParity } from "../support/network.ts"
import { failureOf } from "../support/parity.ts"

type Step = readonly [request: number | string, reply: string | Uint8Array]

/** A proxy that plays a script once: so many bytes, or up to a text, and then what it answers. Then it hangs up. */
const scriptedProxy = Effect.fnUntraced(function*(steps: ReadonlyArray<Step>) {
  const { accept, address } = yield* Listener.Listener.use((listener) => listener.bind("127.0.0.1:0"))
  yield* Effect.forkScoped(Effect.scoped(Effect.gen(function*() {
    const connection = yield* Connection.fromDuplex(yield* accept)
    for (const [request, reply] of steps) {
      yield* typeof request === "number" ? connection.readExactly(request) : connection.readUntil(request)
      yield* connection.write(reply)
    }
  })))
  return "port" in address ? address.port : 0
})

/** How a dial through a proxy fails that plays a script. */
const refusal = Effect.fnUntraced(function*(
  protocol: Proxy.ProxySettings["protocol"],
  steps: ReadonlyArray<Step>,
  credentials: { readonly username?: string; readonly password?: Redacted.Redacted } = {}
) {
  const proxy = Proxy.layer({ protocol, host: "127.0.0.1", port: yield* scriptedProxy(steps), ...credentials })
  const dial = Dialer.Dialer.use((dialer) => dialer.dial("db.test:5432"))
  const { message, hop, ...told } = yield* failureOf(Effect.provide(Effect.scoped(dial), proxy))
  assert.strictEqual(hop, `${protocol}://127.0.0.1:port`)
  assert.include(message, "db.test:5432 via ")
  return told
})

const ann = { username: "ann", password: Redacted.make("secret") }

/** A SOCKS5 reply with nothing but a code. */
const socksReply = (code: number) => Buffer.of(5, code, 0, 1, 0, 0, 0, 0, 0, 0)
const socksRequest = 4 + 1 + "db.test".length + 2

const refused = (code: number, meaning: string) => ({ error: "DialError: ProxyRefused", code, meaning })
const protocolError = (detail: string) => ({ error: "DialError: ProxyProtocol", detail })
const notLetIn = (detail: string) => ({ error: "DialError: ProxyAuthentication", detail })

const cutOff = protocolError("the connection ended before the answer was complete")
const whoAreYou = "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n"

type Case = readonly [
  name: string,
  protocol: Proxy.ProxySettings["protocol"],
  steps: ReadonlyArray<Step>,
  told: Readonly<Record<string, unknown>>,
  credentials?: typeof ann
]

describeParity("a proxy", (test) => {
  for (
    const [name, protocol, steps, told, credentials = {}] of [
      [
        "SOCKS5, connection refused",
        "socks5",
        [[3, Buffer.of(5, 0)], [socksRequest, socksReply(5)]],
        refused(5, "Connection refused")
      ],
      [
        "SOCKS5, not allowed",
        "socks5",
        [[3, Buffer.of(5, 0)], [socksRequest, socksReply(2)]],
        refused(2, "connection not allowed by ruleset")
      ],
      ["SOCKS5, no method", "socks5", [[3, Buffer.of(5, 255)]], notLetIn("it wants credentials and there are none")],
      [
        "SOCKS5, wrong password",
        "socks5",
        [[4, Buffer.of(5, 2)], [3 + 3 + 6, Buffer.of(1, 1)]],
        notLetIn("it does not accept the username and password"),
        ann
      ],
      ["SOCKS5, an end in the middle", "socks5", [[3, Buffer.of(5)]], cutOff],
      [
        "SOCKS5, something else",
        "socks5",
        [[3, "HTTP/1.1 400 Bad Request\r\n\r\n"]],
        protocolError("0x48 begins no answer of a SOCKS5 proxy")
      ],
      [
        "SOCKS4a, rejected",
        "socks4a",
        [["db.test\0", Buffer.of(0, 91, 0, 0, 0, 0, 0, 0)]],
        refused(91, "request rejected or failed")
      ],
      ["HTTP, forbidden", "http", [["\r\n\r\n", "HTTP/1.1 403 Forbidden\r\n\r\n"]], refused(403, "Forbidden")],
      [
        "HTTP, a password is wanted",
        "http",
        [["\r\n\r\n", whoAreYou]],
        notLetIn("it wants credentials and there are none (it offers Basic)")
      ],
      [
        "HTTP, wrong password",
        "http",
        [["\r\n\r\n", whoAreYou]],
        notLetIn("it does not accept the username and password (it offers Basic)"),
        ann
      ],
      ["HTTP, an end in the middle", "http", [["\r\n\r\n", "HTTP/1.1 200 OK\r\nX-"]], cutOff],
      [
        "HTTP, something else",
        "http",
        [["\r\n\r\n", "?"]],
        protocolError("\"?\" begins no HTTP answer")
      ]
    ] as ReadonlyArray<Case>
  ) {
    test(`says no in the same words: ${name}`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* refusal(protocol, steps, credentials), told)
      }))
  }
})

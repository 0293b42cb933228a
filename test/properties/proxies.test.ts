/**
 * Handshakes with proxies, of both sides, over networks that cut, delay and break off what is sent, with peers that say
 * anything: they end in success or a typed error, and in time. Nothing that follows them is lost.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { inspect } from "node:util"
import type { DialError } from "../../src/errors/DialError.ts"
import { proxyHop } from "../../src/internal/proxy/hop.ts"
import type { ProxyInput } from "../../src/internal/proxy/settings.ts"
import * as Connection from "../../src/services/Connection.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as NetworkRule from "../../src/testing/NetworkRule.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import * as TestPeers from "../../src/testing/TestPeers.ts"
import { between, Link, seeded } from "../support/cases.ts"
import { roomy, simulated } from "../support/simulated.ts"
import { Damage, damaged, hearing, patience, saidOf, speaking, Speech, type Words } from "../support/speech.ts"

const secret = "s3cret-passw0rd"
const settings = (protocol: "socks4" | "socks4a" | "socks5" | "http", login?: boolean): ProxyInput => ({
  protocol,
  host: "proxy",
  port: 1080,
  ...(login === true ? { username: "ю", password: Redacted.make(secret) } : {})
})

const proxies = {
  socks4: settings("socks4"),
  socks4a: settings("socks4a"),
  socks5: settings("socks5"),
  "socks5 with a login": settings("socks5", true),
  http: settings("http"),
  "http with a login": settings("http", true)
}

const Name = Schema.Literals(["socks4", "socks4a", "socks5", "socks5 with a login", "http", "http with a login"])

/** What a proxy says, as far as it says what it should. */
const Answer = Schema.Struct({
  /** SOCKS5: which kind of authentication it chooses, whether it likes it, and which kind of address it answers with. */
  method: Schema.Literals([0, 0, 2, 2, 2, 0xff, 7]),
  login: Schema.Literals([0, 0, 0, 0, 1]),
  address: Schema.Literals([1, 3, 4]),
  name: Schema.Literals([0, 4, 255]),
  /** SOCKS: how it decides. */
  code: Schema.Literals([0, 0, 0, 0, 1, 3, 9, 200]),
  /** HTTP: heads before the last one, and how long the values of its headers are. */
  interim: Schema.Array(Schema.Literals([100, 102, 103])).check(Schema.isMaxLength(3)),
  status: Schema.Literals([200, 200, 200, 204, 299, 101, 301, 403, 407, 502]),
  reason: Schema.Literals(["", "OK", "Connection established", "gr\xfcn \x01"]),
  headers: Schema.Array(Schema.Literals([0, 1, 40, 5000, 30_000])).check(Schema.isMaxLength(4)),
  newline: Schema.Literals(["\r\n", "\n"])
})

type Decision = "success" | DialError["reason"]["_tag"]

/** An answer, how it is to be taken, and where what follows it begins. */
interface Meaning extends Omit<Words, "first"> {
  readonly decision: Decision
  readonly code?: number
}

const socks4Answer = ({ code }: typeof Answer.Type): Meaning => ({
  bytes: Buffer.of(0, code === 0 ? 90 : 90 + code % 90, 1, 2, 3, 4, 5, 6),
  turns: [0],
  ...(code === 0 ? { decision: "success" } : { decision: "ProxyRefused", code: 90 + code % 90 })
})

const socks5Answer = (answer: typeof Answer.Type, login: boolean): Meaning => {
  const { address, code, method, name } = answer
  const asksForLogin = method === 2 && login
  const host = address === 1
    ? Buffer.alloc(4, 7)
    : address === 4
    ? Buffer.alloc(16, 7)
    : Buffer.alloc(name + 1, 0x61).fill(name, 0, 1)
  const bytes = Buffer.concat([
    Buffer.of(5, method),
    Buffer.from(asksForLogin ? [1, answer.login] : []),
    Buffer.of(5, code, 0, address),
    host,
    Buffer.of(0x15, 0x38)
  ])
  const turns = asksForLogin ? [0, 2, 4] : [0, 2]
  if (method === 7) return { bytes, turns, decision: "ProxyProtocol" }
  if (method === 0xff || (method === 2 && !login) || (asksForLogin && answer.login !== 0)) {
    return { bytes, turns, decision: "ProxyAuthentication" }
  }
  return code === 0 ? { bytes, turns, decision: "success" } : { bytes, turns, decision: "ProxyRefused", code }
}

const httpAnswer = ({ headers, interim, newline, reason, status }: typeof Answer.Type, most: number): Meaning => {
  const head = (code: number) =>
    [
      `HTTP/1.1 ${code} ${reason}`,
      ...headers.map((size, index) => `X-${index}: ${"v".repeat(Math.min(size, most))}`),
      "Proxy-Authenticate: Basic realm=\"x\"",
      "",
      ""
    ].join(newline)
  const bytes = Buffer.from([...interim, status].map(head).join(""), "latin1")
  const words = { bytes, turns: [0] }
  if (bytes.length > 65_536) return { ...words, decision: "ProxyProtocol" }
  if (status >= 200 && status < 300) return { ...words, decision: "success" }
  return status === 407
    ? { ...words, decision: "ProxyAuthentication" }
    : { ...words, decision: "ProxyRefused", code: status }
}

const meaningOf = (proxy: typeof Name.Type, answer: typeof Answer.Type, most: number): Meaning => {
  switch (proxy) {
    case "socks4":
    case "socks4a":
      return socks4Answer(answer)
    case "socks5":
    case "socks5 with a login":
      return socks5Answer(answer, proxy !== "socks5")
    default:
      return httpAnswer(answer, most)
  }
}

const ClientCase = Schema.Struct({
  seed: between(0, 1_000_000),
  link: Link,
  proxy: Name,
  answer: Answer,
  damage: Schema.NullOr(Damage),
  speech: Speech,
  /** What comes right behind the answer, and how often. */
  early: Schema.Array(between(0, 255)).check(Schema.isMaxLength(12)),
  times: Schema.Literals([1, 1, 1, 500]),
  /** Milliseconds until the stream that was dialled is used. */
  idle: Schema.Literals([0, 0, 1, 500])
})

const refusals: ReadonlyArray<Decision> = ["ProxyRefused", "ProxyAuthentication", "ProxyProtocol"]

const client = Effect.fnUntraced(function*(input: typeof ClientCase.Type) {
  const { answer, damage, early, idle, link, proxy, speech, times } = input
  const most = 100 * Math.min(link.fragment, link.bufferSize)
  const meaning = meaningOf(proxy, answer, most)
  const behind = Buffer.from(Array.from({ length: times }, () => early).flat()).subarray(0, most)
  const bytes = Buffer.concat([damaged(meaning.bytes, damage), behind])
  const said = saidOf(bytes, speech)
  const intact = damage === null
  // who says nonsense does not know when it is their turn
  const turns = intact ? meaning.turns : [0]

  const { accept } = yield* (yield* Listener.Listener).bind("proxy:1080")
  const server = yield* Effect.forkChild(
    Effect.flatMap(accept, (duplex) => speaking(duplex, { bytes, turns, first: false }, speech))
  )
  const path = Dialer.through(yield* Dialer.Dialer, proxyHop(proxies[proxy]))
  const scope = yield* Effect.acquireRelease(Scope.make(), (scope, exit) => Scope.close(scope, exit))
  const begun = yield* Clock.currentTimeMillis
  const dialed = yield* Effect.exit(
    Scope.provide(path.dial(proxy === "socks4" ? "10.9.8.7:5432" : "db:5432", { connectTimeout: patience }), scope)
  )
  const millis = (yield* Clock.currentTimeMillis) - begun

  if (Exit.isFailure(dialed)) {
    // it has closed the connection, although its scope goes on
    assert.include(["EndOfStream", "Reset"], (yield* Fiber.join(server)).reason)
    const error = Option.getOrThrowWith(Cause.findErrorOption(dialed.cause), () => Cause.squash(dialed.cause))
    assert.strictEqual(dialed.cause.reasons.length, 1)
    assert.notInclude(inspect(error, { depth: 10 }) + error.message, secret)
    const { hop, reason } = error
    assert.match(hop, /^(socks[45]a?|http):\/\/proxy:1080$/)
    if (reason._tag === "ConnectTimeout") assert.strictEqual(millis, Duration.toMillis(patience))
    const broken: Decision = speech.ending === "silence" ? "ConnectTimeout" : "ProxyProtocol"
    if (!intact) assert.include([...refusals, broken], reason._tag)
    else if (said < meaning.bytes.length || speech.ending === "reset") {
      assert.include([meaning.decision, broken, "ProxyProtocol"], reason._tag)
    } else {
      assert.strictEqual(reason._tag, meaning.decision)
      if (reason._tag === "ProxyRefused") assert.strictEqual(reason.code, meaning.code)
    }
    return
  }

  yield* Effect.sleep(idle)
  const connection = yield* Scope.provide(Connection.fromDuplex(dialed.value), scope)
  const heard = yield* hearing(connection).all
  assert.strictEqual(heard.reason, { end: "EndOfStream", reset: "Reset", silence: "ReadTimeout" }[speech.ending])
  if (intact) {
    assert.strictEqual(meaning.decision, "success")
    assert.isAtLeast(said, meaning.bytes.length)
  }
  const all = bytes.subarray(0, said)
  const rest = all.subarray(meaning.bytes.length)
  // a reset overtakes what the peer has not sent yet
  if (speech.ending === "reset") assert.isTrue((intact ? rest : all).includes(heard.bytes))
  else assert.isTrue((intact ? rest : all.subarray(said - heard.bytes.length)).equals(heard.bytes))
  yield* Scope.close(scope, Exit.void)
  yield* Fiber.join(server)
})

const faults = {
  resetAt: NetworkRule.resetAt,
  endAt: NetworkRule.endAt,
  corruptAt: NetworkRule.corruptAt,
  silentAt: NetworkRule.silentAt
}

const PathCase = Schema.Struct({
  seed: between(0, 1_000_000),
  link: Link,
  protocol: Schema.Literals(["socks4", "socks4a", "socks5", "http"]),
  /** Whether the proxy wants a login, and what becomes of it. */
  login: Schema.Literals(["unwanted", "unwanted", "right", "wrong", "missing"]),
  target: Schema.Literals(["echo:7", "echo:7", "echo:7", "echo:8", "nowhere:7"]),
  fault: Schema.NullOr(Schema.Struct({
    rule: Schema.Literals(["resetAt", "endAt", "corruptAt", "silentAt"]),
    /** On the connection to the proxy, or from it to the target. */
    port: Schema.Literals([1080, 7]),
    toServer: Schema.Boolean,
    at: Schema.Union([between(0, 20), between(0, 200)])
  })),
  message: Schema.Array(between(0, 255)).check(Schema.isMaxLength(12)),
  times: Schema.Literals([1, 1, 1, 500])
})

/** How a proxy that works says no. */
const decisionOf = ({ login, protocol, target }: typeof PathCase.Type): Decision => {
  if (login === "missing") return protocol.startsWith("socks4") ? "ProxyRefused" : "ProxyAuthentication"
  if (login === "wrong") return "ProxyAuthentication"
  return target === "echo:7" ? "success" : "ProxyRefused"
}

const path = Effect.fnUntraced(function*(given: typeof PathCase.Type) {
  // SOCKS4 has no passwords
  const offers = (given.login === "right" || given.login === "wrong") && !given.protocol.startsWith("socks4")
  const input = { ...given, login: offers || given.login === "missing" ? given.login : "unwanted" as const }
  const { fault, link, login, message, protocol, target, times } = input
  const network = yield* TestNetwork.TestNetwork
  const echo = yield* TestPeers.echo({ address: "echo:7" })
  const proxy = yield* (protocol === "http" ? TestPeers.httpProxy : TestPeers.socks5)({
    address: "proxy:1080",
    ...(login === "unwanted" ? {} : { username: "ю", password: Redacted.make(login === "wrong" ? "another" : secret) })
  })
  if (fault !== null) {
    const { at, port, rule, toServer } = fault
    yield* network.rule(NetworkRule.when({ port, toServer }, faults[rule](at)))
  }
  const sent = Buffer.from(Array.from({ length: times }, () => message).flat())
    .subarray(0, 100 * link.fragment)

  const scope = yield* Effect.acquireRelease(Scope.make(), (scope, exit) => Scope.close(scope, exit))
  const dialer = Dialer.through(yield* Dialer.Dialer, proxyHop(settings(protocol, offers)))
  const dialed = yield* Effect.exit(Scope.provide(dialer.dial(target, { connectTimeout: patience }), scope))
  if (Exit.isFailure(dialed)) {
    const { reason } = Option.getOrThrow(Cause.findErrorOption(dialed.cause))
    if (fault === null) assert.strictEqual(reason._tag, decisionOf(input))
    else assert.include([...refusals, "ConnectTimeout"], reason._tag)
  } else {
    const connection = yield* Scope.provide(Connection.fromDuplex(dialed.value), scope)
    yield* Effect.forkChild(Effect.ignore(Effect.andThen(connection.write(sent), connection.closeWrite)))
    const { bytes, reason } = yield* hearing(connection).all
    const same = bytes.equals(sent)
    if (fault === null || (fault.rule === "resetAt" && reason === "EndOfStream")) {
      assert.deepStrictEqual([reason, same], ["EndOfStream", true])
    } else {
      assert.include(
        fault.rule === "silentAt" ? ["EndOfStream", "Reset", "ReadTimeout"] : ["EndOfStream", "Reset"],
        reason
      )
      if (fault.rule !== "corruptAt") assert.isTrue(sent.subarray(0, bytes.length).equals(bytes))
    }
    yield* Scope.close(scope, Exit.void)
  }
  // the other side of a connection that has become silent does not know that it is over
  if (fault?.rule === "silentAt") return
  yield* Effect.sleep(patience)
  assert.deepStrictEqual([yield* proxy.connections, yield* echo.connections], [0, 0])
})

describe("proxy handshakes over a network", () => {
  it.effect.prop(
    "a client's ends in success or a typed error, whatever the proxy says, and gives what follows",
    { input: ClientCase },
    ({ input }) => simulated(input, client(input)),
    seeded(1000)
  )

  it.effect.prop(
    "a path through a proxy carries everything or fails, wherever it breaks, and leaves nothing open",
    { input: PathCase },
    ({ input }) => simulated(roomy(input), path(input)),
    seeded(1000)
  )
})

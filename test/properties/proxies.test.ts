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
import * as Stream from "effect/Stream"
import type { Duplex } from "node:stream"
import { inspect } from "node:util"
import type { DialError } from "../../src/errors/DialError.ts"
import { reset } from "../../src/internal/net/relay.ts"
import { proxyHop } from "../../src/internal/proxy/hop.ts"
import type { ProxyInput } from "../../src/internal/proxy/settings.ts"
import * as Connection from "../../src/services/Connection.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import { between, Link, seeded } from "../support/cases.ts"
import { fragments } from "../support/fragments.ts"
import { simulated } from "../support/simulated.ts"

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

/** How bytes get out of shape. */
const Damage = Schema.Struct({
  changes: Schema.Array(Schema.Struct({ at: between(0, 999), byte: between(0, 255) })).check(Schema.isMaxLength(3)),
  inserted: Schema.Array(between(0, 255)).check(Schema.isMaxLength(6)),
  insertedAt: between(0, 999),
  /** Nothing of what should have been said is. */
  replaced: Schema.Boolean
})

/** How a peer says what it says. */
const Speech = Schema.Struct({
  /** After how many thousandths of it it stops, and what it does then. */
  stop: Schema.NullOr(between(0, 999)),
  ending: Schema.Literals(["end", "reset", "silence"]),
  sizes: Schema.NonEmptyArray(Schema.Literals([1, 2, 7, 100, 65_536])).check(Schema.isMaxLength(4)),
  pause: Schema.Literals([0, 0, 0, 1, 30]),
  /** Speaks only when it has been spoken to. */
  polite: Schema.Boolean
})

const damaged = (bytes: Buffer, damage: typeof Damage.Type | null): Buffer => {
  if (damage === null) return bytes
  const inserted = Buffer.from(damage.inserted)
  if (damage.replaced) return inserted
  const changed = Buffer.from(bytes)
  for (const { at, byte } of damage.changes) if (bytes.length > 0) changed[Math.floor(at * bytes.length / 1000)] = byte
  const at = Math.floor(damage.insertedAt * bytes.length / 1000)
  return Buffer.concat([changed.subarray(0, at), inserted, changed.subarray(at)])
}

/** What somebody is to say, and where they wait for an answer if they are polite. */
interface Words {
  readonly bytes: Buffer
  readonly turns: ReadonlyArray<number>
}

/** Says it, in pieces, as far as it is to be said. */
const say = Effect.fnUntraced(function*(
  connection: Connection.Connection,
  { bytes, turns }: Words,
  { ending, pause, polite, sizes, stop }: typeof Speech.Type
) {
  const end = stop === null ? bytes.length : Math.floor(stop * bytes.length / 1000)
  // what is long comes in pieces that are not too many
  const least = Math.ceil(end / 100)
  for (const [index, start] of turns.entries()) {
    if (start >= end) break
    if (polite) yield* connection.read()
    const part = bytes.subarray(Math.min(start, end), Math.min(turns[index + 1] ?? end, end))
    for (const piece of fragments(part, sizes.map((size) => Math.max(size, least)))) {
      if (pause > 0) yield* Effect.sleep(pause)
      yield* connection.write(piece)
    }
  }
  if (ending === "end") yield* connection.closeWrite
})

/** Says something on a stream to somebody who is to close it; done when that has happened. */
const speaking = Effect.fnUntraced(function*(duplex: Duplex, words: Words, speech: typeof Speech.Type) {
  const connection = yield* Connection.fromDuplex(duplex)
  yield* Effect.ignore(say(connection, words, speech))
  if (speech.ending === "reset") reset(duplex)
  yield* Effect.ignore(Stream.runDrain(connection.reads))
}, Effect.scoped)

/** All that arrives, and why there is no more. */
const listening = Effect.fnUntraced(function*(connection: Connection.Connection) {
  const pieces: Array<Uint8Array> = []
  const reading = Effect.tap(
    connection.read({ timeout: "20 seconds" }),
    (piece) => Effect.sync(() => pieces.push(piece))
  )
  const { reason } = yield* Effect.flip(Effect.forever(reading))
  return { bytes: Buffer.concat(pieces), reason: reason._tag }
})

type Decision = "success" | DialError["reason"]["_tag"]

/** An answer, how it is to be taken, and where what follows it begins. */
interface Meaning extends Words {
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

/** Longer than the slowest link takes for the longest answer. */
const connectTimeout = Duration.hours(1)

const refusals: ReadonlyArray<Decision> = ["ProxyRefused", "ProxyAuthentication", "ProxyProtocol"]

const client = Effect.fnUntraced(function*(input: typeof ClientCase.Type) {
  const { answer, damage, early, idle, link, proxy, speech, times } = input
  const most = 100 * Math.min(link.fragment, link.bufferSize)
  const meaning = meaningOf(proxy, answer, most)
  const behind = Buffer.from(Array.from({ length: times }, () => early).flat()).subarray(0, most)
  const bytes = Buffer.concat([damaged(meaning.bytes, damage), behind])
  const said = speech.stop === null ? bytes.length : Math.floor(speech.stop * bytes.length / 1000)
  const intact = damage === null
  // who says nonsense does not know when it is their turn
  const turns = intact ? meaning.turns : [0]

  const { accept } = yield* (yield* Listener.Listener).bind("proxy:1080")
  const server = yield* Effect.forkChild(
    Effect.flatMap(accept, (duplex) => speaking(duplex, { bytes, turns }, speech))
  )
  const path = Dialer.through(yield* Dialer.Dialer, proxyHop(proxies[proxy]))
  const scope = yield* Effect.acquireRelease(Scope.make(), (scope, exit) => Scope.close(scope, exit))
  const begun = yield* Clock.currentTimeMillis
  const dialed = yield* Effect.exit(
    Scope.provide(path.dial(proxy === "socks4" ? "10.9.8.7:5432" : "db:5432", { connectTimeout }), scope)
  )
  const millis = (yield* Clock.currentTimeMillis) - begun

  if (Exit.isFailure(dialed)) {
    // it has closed the connection, although its scope goes on
    yield* Fiber.join(server)
    const error = Option.getOrThrowWith(Cause.findErrorOption(dialed.cause), () => Cause.squash(dialed.cause))
    assert.strictEqual(dialed.cause.reasons.length, 1)
    assert.notInclude(inspect(error, { depth: 10 }) + error.message, secret)
    const { hop, reason } = error
    assert.match(hop, /^(socks[45]a?|http):\/\/proxy:1080$/)
    if (reason._tag === "ConnectTimeout") assert.strictEqual(millis, Duration.toMillis(connectTimeout))
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
  const heard = yield* listening(connection)
  assert.strictEqual(heard.reason, { end: "EndOfStream", reset: "Reset", silence: "ReadTimeout" }[speech.ending])
  if (intact) {
    assert.strictEqual(meaning.decision, "success")
    assert.isAtLeast(said, meaning.bytes.length)
  }
  const rest = bytes.subarray(intact ? meaning.bytes.length : Math.max(0, said - heard.bytes.length), said)
  // a reset overtakes what the peer has not sent yet
  const arrived = speech.ending === "reset" ? rest.subarray(0, heard.bytes.length) : rest
  assert.strictEqual(heard.bytes.toString("hex"), arrived.toString("hex"))
  yield* Scope.close(scope, Exit.void)
  yield* Fiber.join(server)
})

describe("proxy handshakes over a network", () => {
  it.effect.prop(
    "a client's ends in success or a typed error, whatever the proxy says, and gives what follows",
    { input: ClientCase },
    ({ input }) => simulated(input, client(input)),
    seeded(1000)
  )
})

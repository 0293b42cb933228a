/**
 * The server's side of handshakes that come before a connection is of use, the SOCKS server of a forward and PROXY headers,
 * with clients that say anything: who says what they should gets through with every byte, nobody else stays.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { ProxyHeader } from "../../src/internal/proxy/proxyHeader.ts"
import * as V1 from "../../src/internal/proxy/proxyHeaderV1.ts"
import * as V2 from "../../src/internal/proxy/proxyHeaderV2.ts"
import { forward } from "../../src/internal/ssh/forward/forwarding.ts"
import { Observer } from "../../src/internal/ssh/observe.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import { bySocks } from "../../src/services/SshForward.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import * as TestPeers from "../../src/testing/TestPeers.ts"
import { between, Link, seeded } from "../support/cases.ts"
import { roomy, simulated } from "../support/simulated.ts"
import { Damage, damaged, patience, saidOf, speaking, Speech } from "../support/speech.ts"
import { serving } from "../support/tcpServers.ts"

/** What a client says first, and what comes behind it. */
const common = {
  seed: between(0, 1_000_000),
  link: Link,
  damage: Schema.NullOr(Damage),
  speech: Speech,
  payload: Schema.Array(between(0, 255)).check(Schema.isMaxLength(12)),
  times: Schema.Literals([1, 1, 1, 500])
}

type Common = { readonly [K in keyof typeof common]: typeof common[K]["Type"] }

/** Less than the client's own patience, and longer than it takes over the slowest link. */
const handshakeTimeout = "5 minutes"

const payloadOf = ({ link, payload, times }: Common) =>
  Buffer.from(Array.from({ length: times }, () => payload).flat()).subarray(0, 100 * link.fragment)

/** Connects, says something, and gives what was said back. */
const visit = Effect.fnUntraced(function*(
  { damage, speech }: Common,
  target: string,
  words: { readonly bytes: Buffer; readonly turns: ReadonlyArray<number> },
  payload: Buffer
) {
  const intact = damage === null
  const bytes = Buffer.concat([damaged(words.bytes, damage), payload])
  const duplex = yield* (yield* Dialer.Dialer).dial(target)
  // who says nonsense does not know when it is their turn
  const turns = intact ? words.turns : [0]
  const heard = yield* speaking(duplex, { bytes, turns, first: true }, speech)
  return { ...heard, intact, said: bytes.subarray(0, saidOf(bytes, speech)) }
})

const SocksCase = Schema.Struct({
  ...common,
  version: Schema.Literals([4, 5, 5]),
  methods: Schema.Array(Schema.Literals([0, 2, 1, 0x80])).check(Schema.isMaxLength(4)),
  login: Schema.Literals(["unwanted", "unwanted", "right", "wrong"]),
  command: Schema.Literals([1, 1, 1, 1, 2, 3]),
  host: Schema.Literals(["name", "IPv4", "IPv6"]),
  target: Schema.Literals(["echo", "echo", "echo", "refused", "unknown"])
})

const credentials = { username: "ю", password: Redacted.make("s3cret") }

const hosts = {
  name: { known: "echo", unknown: "nowhere" },
  IPv4: { known: "10.1.0.7", unknown: "10.1.0.8" },
  IPv6: { known: "fd00::7", unknown: "fd00::8" }
}

const text = (value: string) => Buffer.concat([Buffer.of(Buffer.byteLength(value)), Buffer.from(value)])

const octets = (address: string) => {
  const ip = Result.getOrThrow(NetAddress.ipFromString(address))
  return Buffer.from(NetAddress.isIpv4Address(ip) ? NetAddress.ipv4ToOctets(ip) : NetAddress.ipv6ToOctets(ip))
}

/** What a client asks for, where its turns begin, and what it is to be answered. */
const socksOf = ({ command, host, login, methods, target, version }: typeof SocksCase.Type) => {
  const kind = version === 4 && host === "IPv6" ? "name" : host
  const name = hosts[kind][target === "unknown" ? "unknown" : "known"]
  const port = Buffer.of(0, target === "refused" ? 8 : 7)
  const granted = target === "echo"
  if (version === 4) {
    const where = kind === "name" ? Buffer.of(0, 0, 0, 1) : octets(name)
    const named = Buffer.from(kind === "name" ? `me\0${name}\0` : "me\0")
    const through = granted && command === 1 && login === "unwanted"
    return {
      bytes: Buffer.concat([Buffer.of(4, command), port, where, named]),
      turns: [0],
      through,
      answers: [`00${through ? "5a" : "5b"}000000000000`]
    }
  }
  const wanted = login === "unwanted" ? 0 : 2
  const where = kind === "name"
    ? Buffer.concat([Buffer.of(3), text(name)])
    : Buffer.concat([Buffer.of(kind === "IPv4" ? 1 : 4), octets(name)])
  const offer = Buffer.of(5, methods.length, ...methods)
  const word = login === "unwanted"
    ? Buffer.alloc(0)
    : Buffer.concat([Buffer.of(1), text("ю"), text(login === "right" ? "s3cret" : "another")])
  const words = {
    bytes: Buffer.concat([offer, word, Buffer.of(5, command, 0), where, port]),
    turns: [0, offer.length, ...(word.length === 0 ? [] : [offer.length + word.length])]
  }
  const first = wanted === 0 ? "0500" : "0502"
  const reply = (code: number) => `050${code}0001000000000000`
  if (!methods.includes(wanted)) return { ...words, through: false, answers: ["05ff"] }
  if (login === "wrong") return { ...words, through: false, answers: [`${first}0101`] }
  const before = login === "right" ? `${first}0100` : first
  const codes = command !== 1 ? [7] : granted ? [0] : target === "refused" ? [5] : [3, 4]
  return { ...words, through: granted && command === 1, answers: codes.map((code) => before + reply(code)) }
}

const socks = Effect.fnUntraced(function*(input: typeof SocksCase.Type) {
  const network = yield* TestNetwork.TestNetwork
  yield* network.host("echo", { addresses: [hosts.IPv4.known, hosts.IPv6.known] })
  const echoes = [yield* TestPeers.echo({ address: "echo:7" }), yield* TestPeers.echo({ address: "[fd00::7]:7" })]
  const listener = yield* Listener.Listener
  const forwarding = yield* forward({
    server: "ssh",
    observer: new Observer("ssh", Context.empty()),
    listen: listener.bind("socks:1080"),
    route: bySocks(yield* Dialer.Dialer, {
      handshakeTimeout,
      credentials: input.login === "unwanted" ? undefined : credentials
    }),
    lost: Effect.never,
    maxConnections: 256
  })
  const events: Array<string> = []
  yield* Effect.forkScoped(
    Effect.ignore(Stream.runForEach(forwarding.events, (event) => Effect.sync(() => events.push(event._tag)))),
    { startImmediately: true }
  )

  const { answers, through, ...words } = socksOf(input)
  const payload = payloadOf(input)
  const turns = [...words.turns, words.bytes.length]
  const { bytes, intact, reason, said } = yield* visit(input, "socks:1080", { ...words, turns }, payload)
  const heard = bytes.toString("hex")
  if (!events.includes("Opened")) assert.include(["EndOfStream", "Reset"], reason)
  if (intact && input.speech.ending !== "reset") {
    const whole = said.length >= words.bytes.length
    if (whole && through) {
      assert.strictEqual(heard, answers[0] + said.subarray(words.bytes.length).toString("hex"))
      assert.strictEqual(reason, input.speech.ending === "end" ? "EndOfStream" : "ReadTimeout")
    } else if (whole && reason === "EndOfStream") {
      assert.include(answers, heard)
    } else {
      // who goes on talking to somebody who has left may miss their last words
      assert.isTrue(answers.some((answer) => answer.startsWith(heard)), heard)
    }
  }
  yield* Effect.sleep(patience)
  const open = yield* Effect.all([forwarding.connections, ...echoes.map(({ connections }) => connections)])
  assert.deepStrictEqual(open, [0, 0, 0])
  assert.include([["Failed"], ["Opened", "Closed"], ["Opened", "Failed"]].map(String), String(events))
})

const HeaderCase = Schema.Struct({
  ...common,
  version: Schema.Literals([1, 2, 2]),
  ends: Schema.Literals(["IPv4", "IPv6", "mixed", "unix", "none"]),
  tlvs: Schema.Array(Schema.Struct({ type: between(0xe0, 0xef), size: Schema.Literals([0, 1, 300]) }))
    .check(Schema.isMaxLength(3)),
  checksum: Schema.Boolean
})

const address = NetAddress.socketAddressFromInputUnsafe

const ends = {
  IPv4: { source: address("203.0.113.7:51234"), destination: address("10.0.0.1:443") },
  IPv6: { source: address("[2001:db8::7]:51234"), destination: address("[2001:db8::1]:443") },
  mixed: { source: address("203.0.113.7:51234"), destination: address("[2001:db8::1]:443") },
  unix: { source: address({ path: "/run/client" }), destination: address({ path: "/run/server" }) },
  none: {}
}

const headerOf = ({ checksum, ends: kind, tlvs, version }: typeof HeaderCase.Type) => {
  const header: ProxyHeader = {
    version,
    command: kind === "none" ? "LOCAL" : "PROXY",
    ...ends[kind],
    tlvs: { other: tlvs.map(({ size, type }) => ({ type, value: Buffer.alloc(size, 7) })) }
  }
  return version === 1 ? V1.encode(header) : Result.getOrThrow(V2.encode(header, checksum))
}

/** How a server is to call the client: as the header does, or by where the connection comes from. */
const clientOf = ({ ends: kind, version }: typeof HeaderCase.Type) => {
  if (kind === "none" || (kind === "unix" && version === 1)) return /^10\.0\.0\.1:\d+$/
  return {
    IPv4: /^203\.0\.113\.7:51234$/,
    IPv6: /^\[2001:db8::7\]:51234$/,
    mixed: /^\[::ffff:(203\.0\.113\.7|cb00:7107)\]:51234$/,
    unix: /^\/run\/client$/
  }[kind]
}

const proxyHeader = Effect.fnUntraced(function*(input: typeof HeaderCase.Type) {
  const clients: Array<string> = []
  let open = 0
  const { address: server } = yield* serving((connection) => {
    clients.push(NetAddress.formatSocketAddress(Option.getOrThrow(connection.remoteAddress)))
    open++
    return Effect.ensuring(Stream.run(connection.reads, connection.writes), Effect.sync(() => open--))
  }, {
    host: "server",
    port: 9000,
    proxyProtocol: { trusted: ["10.0.0.0/8"], timeout: handshakeTimeout },
    handshakeTimeout: patience
  })
  assert.isFalse(NetAddress.isUnixPathAddress(server))

  const header = headerOf(input)
  const { bytes, intact, reason, said } = yield* visit(
    input,
    "server:9000",
    { bytes: header, turns: [0] },
    payloadOf(input)
  )
  const [client] = clients
  if (client === undefined) {
    // it was closed, and nothing was said to it
    assert.include(["EndOfStream", "Reset"], reason)
    assert.strictEqual(bytes.length, 0)
  }
  if (input.speech.ending !== "reset") {
    if (intact) {
      const whole = said.length >= header.length
      assert.strictEqual(client !== undefined, whole)
      if (client !== undefined) assert.match(client, clientOf(input))
      assert.strictEqual(bytes.toString("hex"), said.subarray(header.length).toString("hex"))
      if (whole) assert.strictEqual(reason, input.speech.ending === "end" ? "EndOfStream" : "ReadTimeout")
    } else {
      assert.isTrue(said.subarray(said.length - bytes.length).equals(bytes))
    }
  }
  yield* Effect.sleep(patience)
  assert.strictEqual(open, 0)
})

describe("handshakes of servers over a network", () => {
  it.effect.prop(
    "a SOCKS server leads its clients to their targets or turns them away, whatever they say, in time",
    { input: SocksCase },
    ({ input }) => simulated(roomy(input), socks(input)),
    seeded(1000)
  )

  it.effect.prop(
    "a server reads a PROXY header or closes the connection, whatever comes, in time",
    { input: HeaderCase },
    ({ input }) => simulated(roomy(input), proxyHeader(input)),
    seeded(1000)
  )
})

import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { TestClock } from "effect/testing"
import { guardErrors } from "../../../src/internal/net/owner.ts"
import type { ProxyHeader } from "../../../src/internal/proxy/proxyHeader.ts"
import * as V1 from "../../../src/internal/proxy/proxyHeaderV1.ts"
import * as V2 from "../../../src/internal/proxy/proxyHeaderV2.ts"
import {
  decode,
  ProxyHeaderError,
  type ProxyProtocolOptions,
  read,
  receiver
} from "../../../src/internal/proxy/proxyProtocol.ts"
import { fragments, Sizes } from "../../support/fragments.ts"
import { reasonOf } from "../../support/reason.ts"
import { ScriptedDuplex, turn } from "../../support/scripted.ts"

const address = NetAddress.socketAddressFromInputUnsafe

const inet = { source: address("203.0.113.7:51234"), destination: address("10.0.0.1:443") }
const inet6 = { source: address("[2001:db8::7]:51234"), destination: address("[2001:db8::1]:443") }
const unix = { source: address({ path: "/run/client" }), destination: address({ path: "/run/server" }) }
const tlvs = {
  alpn: "h2",
  authority: "db.test",
  uniqueId: Buffer.from("id"),
  ssl: Buffer.of(1, 0, 0, 0, 0),
  netns: "blue",
  other: [{ type: 0xe0, value: Buffer.from("ours") }]
}

/** Headers, as they come over the wire and as they are understood. */
const headers: Record<string, readonly [Uint8Array, ProxyHeader]> = {
  "version 1, TCP4": [
    Buffer.from("PROXY TCP4 203.0.113.7 10.0.0.1 51234 443\r\n"),
    { version: 1, command: "PROXY", ...inet, tlvs: {} }
  ],
  "version 1, TCP6": [
    Buffer.from("PROXY TCP6 2001:db8::7 2001:db8::1 51234 443\r\n"),
    { version: 1, command: "PROXY", ...inet6, tlvs: {} }
  ],
  "version 1, UNKNOWN": [Buffer.from("PROXY UNKNOWN\r\n"), { version: 1, command: "LOCAL", tlvs: {} }],
  "version 2, IPv4": [
    Buffer.from("0d0a0d0a000d0a515549540a 21 11 000c cb007107 0a000001 c822 01bb".replaceAll(" ", ""), "hex"),
    { version: 2, command: "PROXY", ...inet, tlvs: {} }
  ],
  "version 2, IPv6": [
    Buffer.from(
      `0d0a0d0a000d0a515549540a 21 21 0024 20010db8${"00".repeat(11)}07 20010db8${"00".repeat(11)}01 c822 01bb`
        .replaceAll(" ", ""),
      "hex"
    ),
    { version: 2, command: "PROXY", ...inet6, tlvs: {} }
  ],
  "version 2, unix": [
    Buffer.concat([
      Buffer.from("0d0a0d0a000d0a515549540a213100d8", "hex"),
      Buffer.from("/run/client".padEnd(108, "\0")),
      Buffer.from("/run/server".padEnd(108, "\0"))
    ]),
    { version: 2, command: "PROXY", ...unix, tlvs: {} }
  ],
  "version 2, LOCAL": [
    Buffer.from("0d0a0d0a000d0a515549540a20000000", "hex"),
    { version: 2, command: "LOCAL", tlvs: {} }
  ],
  "version 2, with fields": [
    Result.getOrThrow(V2.encode({ version: 2, command: "PROXY", ...inet, tlvs }, true)),
    { version: 2, command: "PROXY", ...inet, tlvs }
  ]
}

const shown = (header: ProxyHeader) => JSON.parse(JSON.stringify(header))

describe("PROXY protocol header", () => {
  for (const [name, [bytes, header]] of Object.entries(headers)) {
    it.live.prop(
      `${name}: is read from any pieces, and what follows is left`,
      { sizes: Sizes },
      ({ sizes }) =>
        Effect.gen(function*() {
          const duplex = guardErrors(new ScriptedDuplex())
          const reading = yield* Effect.forkChild(read(duplex), { startImmediately: true })
          for (const piece of fragments(Buffer.concat([bytes, Buffer.from("PROXY early")]), sizes)) {
            duplex.arrive(piece)
            yield* turn
          }
          assert.deepStrictEqual(shown(yield* Fiber.join(reading)), shown(header))
          let rest = ""
          for (let chunk: Buffer | null; (chunk = duplex.read()) !== null;) rest += String(chunk)
          assert.strictEqual(rest, "PROXY early")
          assert.deepStrictEqual(duplex.eventNames(), ["error"])
        }),
      { arbitrary: { runs: 20 } }
    )
  }

  for (const [name, [bytes, header]] of Object.entries(headers)) {
    it.live(`${name}: each beginning of it is none, and says so once the peer has ended`, () =>
      Effect.gen(function*() {
        for (let size = 0; size < bytes.length; size++) {
          const duplex = guardErrors(new ScriptedDuplex())
          duplex.arrive(bytes.subarray(0, size))
          duplex.endInput()
          const error = yield* Effect.flip(read(duplex))
          assert.strictEqual(
            error.message,
            "no usable PROXY header: the connection ended before the answer was complete"
          )
        }
      }))

    it.live(`${name}: each change of one byte is a header or none, and nothing else`, () =>
      Effect.gen(function*() {
        for (let at = 0; at < bytes.length; at++) {
          for (const to of [0, 1, 0x20, 0x30, 0x7f, 0xff, bytes[at]! ^ 1, bytes[at]! ^ 0x10]) {
            const changed = Buffer.from(bytes)
            changed[at] = to
            const duplex = guardErrors(new ScriptedDuplex())
            duplex.arrive(changed)
            duplex.endInput()
            const exit = yield* Effect.exit(read(duplex))
            if (Exit.isSuccess(exit)) continue
            assert.instanceOf(Option.getOrThrow(Cause.findErrorOption(exit.cause)), ProxyHeaderError, `${at}: ${to}`)
            assert.deepStrictEqual(duplex.eventNames(), ["error"])
          }
        }
      }))

    it(`${name}: is written as it is read`, () => {
      const written = header.version === 1
        ? V1.encode(header)
        : Result.getOrThrow(V2.encode(header, name.includes("fields")))
      assert.strictEqual(written.toString("latin1"), Buffer.from(bytes).toString("latin1"))
    })
  }

  it("says what is wrong with what is none", () => {
    const v2 = (rest: string) => Buffer.from(`0d0a0d0a000d0a515549540a${rest.replaceAll(" ", "")}`, "hex")
    const shape = "the line names no protocol, two addresses and two ports"
    const cases: ReadonlyArray<readonly [Uint8Array | string, string]> = [
      ["GET / HTTP/1.1\r\n", "the first bytes begin none"],
      ["PROXX", "the first bytes begin none"],
      ["\r\n\r\nX", "the first bytes begin none"],
      ["PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n\r\n", shape],
      ["PROXY \r\n", shape],
      ["PROXY TCP4\r\n", shape],
      ["PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n", shape],
      ["PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n", shape],
      ["PROXY TCP4 1.1.1.1 2.2.2.2  1 2\r\n", shape],
      ["PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", shape],
      ["PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n", shape],
      ["PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n", shape],
      ["PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n", shape],
      ["PROXY TCP4 ::1 ::2 1 2\r\n", shape],
      ["PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n", shape],
      ["PROXY TCP4 1.1.1.1 2.2.2.256 1 2\r\n", shape],
      ["PROXY TCP4 db.test 2.2.2.2 1 2\r\n", shape],
      [`PROXY UNKNOWN ${"x".repeat(100)}`, "no line of at most 107 bytes"],
      [v2("11 11 0000"), "it names no version and command of this protocol"],
      [v2("22 11 0000"), "it names no version and command of this protocol"],
      [v2("21 41 0000"), "it names no address family and protocol"],
      [v2("21 13 0000"), "it names no address family and protocol"],
      [v2("21 11 1001"), "it is longer than 4112 bytes"],
      [v2("21 11 000b 00000000 00000000 000000"), "it has no room for its addresses"],
      [v2("21 00 0002 0100"), "a field has no length"],
      [v2("21 00 0004 01 0002 68"), "a field is longer than the header"],
      [v2("21 00 0007 03 0004 00000000"), "the checksum is wrong"],
      [v2("21 00 0004 03 0001 00"), "the checksum is wrong"],
      [v2(`21 00 0084 05 0081 ${"00".repeat(129)}`), "the unique id is longer than 128 bytes"]
    ]
    for (const [bytes, detail] of cases) {
      assert.deepStrictEqual(decode(Buffer.from(bytes)), { _tag: "malformed", detail }, String(bytes))
    }
  })

  it("ignores what it has to ignore", () => {
    const v2 = (rest: string) => Buffer.from(`0d0a0d0a000d0a515549540a${rest.replaceAll(" ", "")}`, "hex")
    const longest = `PROXY UNKNOWN ${"f".repeat(107 - 16)}\r\n`
    const cases: ReadonlyArray<readonly [Uint8Array | string, ProxyHeader]> = [
      [longest, { version: 1, command: "LOCAL", tlvs: {} }],
      ["PROXY UNKNOWN 1.1.1.1 nonsense\r\n", { version: 1, command: "LOCAL", tlvs: {} }],
      // LOCAL: the whole block, whatever it is
      [v2("20 11 0003 ff ff ff"), { version: 2, command: "LOCAL", tlvs: {} }],
      // NOOP, and the addresses of datagrams
      [v2("21 00 0005 04 0002 0000"), { version: 2, command: "PROXY", tlvs: {} }],
      [v2("21 12 000c cb007107 0a000001 c822 01bb"), { version: 2, command: "PROXY", tlvs: {} }]
    ]
    for (const [bytes, header] of cases) {
      assert.deepStrictEqual(decode(Buffer.from(bytes)), { _tag: "complete", header, size: bytes.length })
    }
  })

  it("notices every damaged byte of a header with a checksum", () => {
    const bytes = Result.getOrThrow(V2.encode({ version: 2, command: "PROXY", ...inet6, tlvs }, true))
    assert.strictEqual(decode(bytes)._tag, "complete")
    // the first sixteen bytes decide what the header is at all
    for (let at = 16; at < bytes.length; at++) {
      // without this one there is no checksum
      if (at === bytes.length - 7) continue
      const damaged = Buffer.from(bytes)
      damaged[at] = damaged[at]! ^ 0x40
      assert.notStrictEqual(decode(damaged)._tag, "complete", String(at))
    }
  })

  it("names both ends in one family, or none", () => {
    const header = (source: string, destination: string): ProxyHeader => ({
      version: 1,
      command: "PROXY",
      source: address(source),
      destination: address(destination),
      tlvs: {}
    })
    const line = (source: string, destination: string) => V1.encode(header(source, destination)).toString().trim()
    assert.strictEqual(line("1.2.3.4:5", "[2001:db8::1]:6"), "PROXY TCP6 ::ffff:1.2.3.4 2001:db8::1 5 6")
    assert.strictEqual(line("[2001:db8::1]:6", "1.2.3.4:5"), "PROXY TCP6 2001:db8::1 ::ffff:1.2.3.4 6 5")
    assert.strictEqual(line("[::ffff:1.2.3.4]:5", "1.2.3.5:6"), "PROXY TCP4 1.2.3.4 1.2.3.5 5 6")
    assert.strictEqual(line("0.0.0.0:0", "255.255.255.255:65535"), "PROXY TCP4 0.0.0.0 255.255.255.255 0 65535")
    const unknown = "PROXY UNKNOWN\r\n"
    assert.strictEqual(V1.encode({ version: 1, command: "PROXY", ...unix, tlvs: {} }).toString(), unknown)
    assert.strictEqual(
      V1.encode({ version: 1, command: "PROXY", source: inet.source, tlvs: {} }).toString(),
      unknown
    )
    assert.strictEqual(
      V1.encode({ version: 1, command: "PROXY", source: inet.source, destination: unix.source, tlvs: {} }).toString(),
      unknown
    )
    // a unix client has no path of its own
    const half = { version: 2, command: "PROXY", destination: unix.destination, tlvs: {} } as const
    const decoded = decode(Result.getOrThrow(V2.encode(half, false)))
    assert.deepStrictEqual(
      decoded._tag === "complete" && shown(decoded.header),
      shown({ ...half, source: undefined })
    )
  })

  it("does not write what nobody would read", () => {
    const header = { version: 2, command: "PROXY", tlvs: {} } as const
    const cases: ReadonlyArray<readonly [ProxyHeader, string]> = [
      [{ ...header, source: address({ path: "x".repeat(109) }) }, "a socket path is longer than 108 bytes"],
      [{ ...header, tlvs: { uniqueId: Buffer.alloc(129) } }, "the unique id is longer than 128 bytes"],
      [{ ...header, tlvs: { authority: "x".repeat(4094) } }, "the header is longer than 4112 bytes"],
      [
        { ...header, tlvs: { other: [{ type: 256, value: Buffer.alloc(0) }] } },
        "256 is no type of a field; those are 0 to 255"
      ]
    ]
    for (const [wrong, why] of cases) assert.deepStrictEqual(V2.encode(wrong, false), Result.fail(why))
    const longest = Result.getOrThrow(V2.encode({ ...header, tlvs: { authority: "x".repeat(4093) } }, false))
    assert.strictEqual(longest.length, V2.maxSize)
    assert.strictEqual(decode(longest)._tag, "complete")
  })

  it.live("keeps memory and time bounded where a peer sends without end", () =>
    Effect.gen(function*() {
      for (const begin of ["PROXY ", "\r\n\r\n\0\r\nQUIT\n\x21\x11\x10\x00", "garbage"]) {
        const duplex = guardErrors(new ScriptedDuplex())
        const reading = yield* Effect.forkChild(Effect.exit(read(duplex)), { startImmediately: true })
        duplex.arrive(Buffer.from(begin, "latin1"))
        for (let piece = 0; piece < 20 && reading.pollUnsafe() === undefined; piece++) {
          duplex.arrive("x".repeat(1000))
          yield* turn
        }
        const exit = reading.pollUnsafe()
        assert.isTrue(exit !== undefined && Exit.isSuccess(exit) && Exit.isFailure(exit.value), begin)
      }
    }))
})

/** A stream as it looks when it comes from an address. */
const from = (remoteAddress: string | undefined) => {
  const duplex = guardErrors(new ScriptedDuplex())
  return remoteAddress === undefined ? duplex : Object.assign(duplex, { remoteAddress, remotePort: 1234 })
}

describe("PROXY protocol receiver", () => {
  const header = Buffer.from("PROXY TCP4 203.0.113.7 10.0.0.1 51234 443\r\nhello")
  const receive = Effect.fnUntraced(function*(options: ProxyProtocolOptions, remote: string | undefined) {
    const duplex = from(remote)
    duplex.arrive(header)
    const received = yield* Effect.flatMap(receiver(options), (receive) => receive(duplex))
    return [Option.isSome(received), String(duplex.read())] as const
  })

  it.effect("believes those who are trusted, and nobody else", () =>
    Effect.gen(function*() {
      const cases: ReadonlyArray<readonly [trusted: string, remote: string | undefined, boolean]> = [
        ["10.0.0.1", "10.0.0.1", true],
        ["10.0.0.1", "10.0.0.2", false],
        ["10.0.0.0/8", "10.255.0.1", true],
        ["10.0.0.0/8", "11.0.0.1", false],
        ["10.0.0.0/8", "::ffff:10.0.0.1", true],
        ["10.0.0.0/8", "::ffff:11.0.0.1", false],
        ["10.0.0.1", "::ffff:10.0.0.1", true],
        ["::ffff:10.0.0.0/104", "10.9.9.9", true],
        ["::ffff:10.0.0.1", "10.0.0.1", true],
        ["0.0.0.0/0", "1.2.3.4", true],
        ["0.0.0.0/0", "2001:db8::1", false],
        ["0.0.0.0/0", undefined, false],
        ["::1", "::1", true],
        ["2001:db8::/32", "2001:db8:ffff::1", true],
        ["2001:db8::/32", "2001:db9::1", false],
        ["::/0", "10.0.0.1", false],
        ["unix", undefined, true],
        ["unix", "127.0.0.1", false]
      ]
      for (const [trusted, remote, expected] of cases) {
        assert.deepStrictEqual(
          yield* receive({ trusted: [trusted] }, remote),
          [expected, expected ? "hello" : header.toString()],
          `${trusted} ${remote}`
        )
        assert.deepStrictEqual((yield* receive({ trusted: ["192.0.2.1", trusted] }, remote))[0], expected)
      }
    }))

  it.effect("turns others away where a header is required", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(receive({ trusted: ["10.0.0.1"], required: true }, "10.0.0.2"))
      assert.strictEqual(error.message, "no usable PROXY header: the connection is from nobody who is trusted")
      assert.isTrue((yield* receive({ trusted: ["10.0.0.1"], required: true }, "10.0.0.1"))[0])
    }))

  it.effect("does not guess: who is trusted has to send a header", () =>
    Effect.gen(function*() {
      const duplex = from("10.0.0.1")
      duplex.arrive("GET / HTTP/1.1\r\n")
      const error = yield* Effect.flip(
        Effect.flatMap(receiver({ trusted: ["10.0.0.1"] }), (receive) => receive(duplex))
      )
      assert.strictEqual(error.message, "no usable PROXY header: the first bytes begin none")
    }))

  it.effect("waits only so long", () =>
    Effect.gen(function*() {
      for (const [options, seconds] of [[{}, 5], [{ timeout: "2 seconds" }, 2]] as const) {
        const duplex = from("10.0.0.1")
        duplex.arrive("PROXY TC")
        const receiving = yield* receiver({ trusted: ["10.0.0.1"], ...options }).pipe(
          Effect.flatMap((receive) => Effect.flip(receive(duplex))),
          Effect.forkChild({ startImmediately: true })
        )
        yield* TestClock.adjust(seconds * 1000 - 1)
        assert.isUndefined(receiving.pollUnsafe())
        yield* TestClock.adjust(1)
        assert.strictEqual(
          (yield* Fiber.join(receiving)).message,
          `no usable PROXY header: it was not there after ${seconds}s`
        )
        assert.deepStrictEqual(duplex.eventNames(), ["error"])
      }
    }))

  it.effect("says which of the trusted sources is none", () =>
    Effect.gen(function*() {
      for (const wrong of ["db.test", "10.0.0.0/33", "10.0.0.1/8", "10.0.0", "", "*"]) {
        const { detail } = yield* reasonOf(receiver({ trusted: ["10.0.0.1", wrong] }))
        assert.include(
          String(detail),
          `the trusted sources of the PROXY protocol are not usable: "${wrong}" is neither an address, nor a network`
        )
      }
      const { detail } = yield* reasonOf(receiver({ trusted: [] }))
      assert.strictEqual(detail, "the trusted sources of the PROXY protocol are not usable: it names nobody")
    }))
})

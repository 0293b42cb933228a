import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { watch } from "../../../src/internal/ssh/serverOffer.ts"
import { fragments, Sizes } from "../../support/fragments.ts"
import { ScriptedDuplex, turn } from "../../support/scripted.ts"

const list = (...names: ReadonlyArray<string>) => {
  const text = Buffer.from(names.join(","))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(text.length)
  return Buffer.concat([length, text])
}

/** A first packet with these lists, with a message number. */
const packet = (lists: ReadonlyArray<Buffer>, message = 20) => {
  const payload = Buffer.concat([Buffer.from([message]), Buffer.alloc(16, 7), ...lists, Buffer.alloc(5)])
  const padded = Buffer.concat([Buffer.from([4]), payload, Buffer.alloc(4)])
  const length = Buffer.alloc(4)
  length.writeUInt32BE(padded.length)
  return Buffer.concat([length, padded])
}

const lists = [
  list("curve25519-sha256", "ext-info-s", "kex-strict-s-v00@openssh.com"),
  list("ssh-ed25519", "rsa-sha2-256"),
  list("aes128-ctr"),
  list("aes256-ctr"),
  list("hmac-sha2-256"),
  list("hmac-sha2-512"),
  list("none"),
  list("none", "zlib"),
  list(),
  list()
]

/** What is known of a server that sends these pieces. */
const offered = Effect.fnUntraced(function*(pieces: ReadonlyArray<Uint8Array>) {
  const duplex = new ScriptedDuplex()
  const offer = watch(duplex)
  duplex.resume()
  for (const piece of pieces) {
    duplex.arrive(piece)
    yield* turn
  }
  return { offer: offer(), listeners: duplex.listenerCount("data") }
})

describe("what a server offers", () => {
  it.live.prop("is read along, however it arrives", { sizes: Sizes }, ({ sizes }) =>
    Effect.gen(function*() {
      const bytes = Buffer.concat([Buffer.from("welcome\r\nSSH-2.0-test\r\n"), packet(lists), Buffer.from("more")])
      const { listeners, offer } = yield* offered(fragments(bytes, sizes))
      assert.deepStrictEqual(offer, {
        keyExchange: ["curve25519-sha256"],
        hostKey: ["ssh-ed25519", "rsa-sha2-256"],
        cipher: [["aes128-ctr"], ["aes256-ctr"]],
        mac: [["hmac-sha2-256"], ["hmac-sha2-512"]],
        compression: [["none"], ["none", "zlib"]]
      })
      // it is in nobody's way afterwards
      assert.strictEqual(listeners, 0)
    }), { arbitrary: { runs: 30 } })

  it.live("is not known where something else comes, or nothing to the point", () =>
    Effect.gen(function*() {
      const identification = Buffer.from("SSH-2.0-test\r\n")
      const other = yield* offered([identification, packet(lists, 2)])
      assert.deepStrictEqual(other, { offer: undefined, listeners: 0 })
      const endless = yield* offered([Buffer.alloc(100_000, "x"), Buffer.alloc(100_000, "x")])
      assert.deepStrictEqual(endless, { offer: undefined, listeners: 0 })
      const half = yield* offered([identification, packet(lists).subarray(0, 100)])
      assert.deepStrictEqual(half, { offer: undefined, listeners: 1 })
      // lists that say that they are longer than the packet
      const broken = yield* offered([identification, packet([Buffer.from([0, 1, 0, 0])])])
      assert.strictEqual(broken.listeners, 0)
    }))
})

import { assert, describe, it } from "@effect/vitest"
import { Unsupported } from "../../../src/errors/SshError.ts"
import * as Algorithms from "../../../src/internal/ssh/algorithms.ts"
import type { ServerOffer } from "../../../src/internal/ssh/serverOffer.ts"

const offer = (wanted?: Algorithms.Wanted, types: ReadonlyArray<string> = []): Algorithms.Lists => {
  const lists = Algorithms.offer(wanted, types)
  return lists instanceof Unsupported ? assert.fail(lists.message) : lists
}

describe("the offer of algorithms", () => {
  it("begins with host keys of the types that are known, and leaves out none of the others", () => {
    const all = offer().hostKey
    assert.strictEqual(all[0], "ssh-ed25519")
    assert.deepStrictEqual(offer({}, ["ssh-rsa"]).hostKey.slice(0, 2), ["rsa-sha2-512", "rsa-sha2-256"])
    assert.strictEqual(offer({}, ["ecdsa-sha2-nistp521"]).hostKey[0], "ecdsa-sha2-nistp521")
    for (const types of [["ssh-rsa"], ["ssh-dss"], ["ssh-ed25519", "ecdsa-sha2-nistp256"]]) {
      assert.sameMembers([...offer({}, types).hostKey], [...all])
    }
  })

  it("has nothing outdated in it", () => {
    const { cipher, compression, hostKey, keyExchange, mac } = offer(undefined, ["ssh-rsa", "ssh-dss"])
    for (const name of [...keyExchange, ...mac]) assert.notMatch(name, /sha1|md5|group1$/)
    for (const name of cipher) assert.notMatch(name, /cbc|arcfour/)
    assert.notInclude(hostKey, "ssh-rsa")
    assert.notInclude(hostKey, "ssh-dss")
    assert.strictEqual(cipher[0], "aes128-gcm@openssh.com")
    assert.strictEqual(compression[0], "none")
  })

  it("is what was asked for", () => {
    const lists = offer({ cipher: ["aes256-ctr"], hostKey: ["rsa-sha2-256", "ssh-ed25519"] }, ["ssh-ed25519"])
    assert.deepStrictEqual(lists.cipher, ["aes256-ctr"])
    assert.deepStrictEqual(lists.hostKey, ["ssh-ed25519", "rsa-sha2-256"])
    assert.deepStrictEqual(lists.mac, offer().mac)
    assert.deepStrictEqual(Algorithms.toSsh2(lists).cipher, ["aes256-ctr"])
  })

  it("is refused where something in it is not there", () => {
    const feature = (wanted: Algorithms.Wanted) => {
      const refused = Algorithms.offer(wanted, [])
      return refused instanceof Unsupported ? refused.feature : assert.fail("it was accepted")
    }
    assert.strictEqual(feature({ cipher: ["rot13"] }), "algorithm")
    assert.strictEqual(feature({ keyExchange: ["mlkem768x25519-sha256"] }), "post-quantum key exchange")
    assert.strictEqual(feature({ hostKey: ["ssh-ed25519-cert-v01@openssh.com"] }), "host certificate")
    assert.strictEqual(feature({ mac: [] }), "algorithm")
  })
})

describe("algorithms that both sides have", () => {
  const theirs = (changes: Partial<ServerOffer> = {}): ServerOffer => ({
    keyExchange: ["curve25519-sha256"],
    hostKey: ["ssh-ed25519"],
    cipher: [["aes128-ctr"], ["aes128-ctr"]],
    mac: [["hmac-sha2-256"], ["hmac-sha2-256"]],
    compression: [["none"], ["none"]],
    ...changes
  })
  const why = (changes: Partial<ServerOffer>) => {
    const reason = Algorithms.mismatch(offer(), theirs(changes))
    return reason === undefined ? undefined : [reason._tag, reason.message] as const
  }

  it("are missed by name", () => {
    assert.isUndefined(why({}))
    const [tag, message] = why({ cipher: [["aes128-ctr"], ["aes128-cbc", "3des-cbc"]] })!
    assert.strictEqual(tag, "HandshakeFailed")
    assert.match(
      message,
      /no cipher algorithm in common: we offer aes128-gcm@.*; the server offers aes128-cbc, 3des-cbc/
    )
    assert.include(why({ keyExchange: ["diffie-hellman-group1-sha1"] })![1], "no key exchange algorithm in common")
    assert.include(why({ hostKey: ["ssh-rsa"] })![1], "the server offers ssh-rsa")
    assert.include(why({ mac: [["hmac-sha1"], ["hmac-sha2-256"]] })![1], "no MAC algorithm in common")
    assert.include(why({ compression: [["zlib"], ["none"]] })![1], "no compression algorithm in common")
  })

  it("need no MAC where the cipher has its own", () => {
    const gcm = ["aes256-gcm@openssh.com"]
    assert.isUndefined(why({ cipher: [gcm, gcm], mac: [["hmac-sha1"], []] }))
  })

  it("cannot be found with a server that wants a post-quantum key exchange", () => {
    const reason = Algorithms.mismatch(
      offer(),
      theirs({ keyExchange: ["sntrup761x25519-sha512@openssh.com", "mlkem768x25519-sha256"] })
    )
    assert.deepInclude(reason, { _tag: "Unsupported", feature: "post-quantum key exchange" })
    assert.include(reason?.message, "mlkem768x25519-sha256")
  })
})

import { assert, describe, it } from "@effect/vitest"
import * as Host from "effect/net/Host"
import { noProxy } from "../../../src/internal/proxy/noProxy.ts"

const target = (text: string) => Host.hostPortFromInputUnsafe(text)

/** A list, a target, and whether it is reached without a proxy. */
const check = (cases: ReadonlyArray<readonly [list: string, target: string, direct: boolean]>) => {
  for (const [list, to, direct] of cases) {
    assert.strictEqual(noProxy(list)(target(to)), direct, `${to} with "${list}"`)
  }
}

describe("NO_PROXY", () => {
  it("matches a name and the names below it, on the borders of labels", () => {
    check([
      ["example.com", "example.com:80", true],
      ["example.com", "www.example.com:80", true],
      ["example.com", "a.b.example.com:80", true],
      ["example.com", "notexample.com:80", false],
      ["example.com", "example.com.evil.test:80", false],
      ["example.com", "com:80", false],
      ["www.example.com", "example.com:80", false],
      ["localhost", "localhost:80", true],
      ["com", "example.com:80", true]
    ])
  })

  it("takes a dot before or behind a name for nothing", () => {
    check([
      [".example.com", "example.com:80", true],
      [".example.com", "www.example.com:80", true],
      [".example.com", "notexample.com:80", false],
      ["example.com.", "example.com:80", true],
      ["example.com", "example.com.:80", true],
      [".example.com.", "www.example.com.:80", true],
      [".", "example.com:80", false],
      ["..", "example.com:80", false]
    ])
  })

  it("does not look at the case, and knows a name by its punycode", () => {
    check([
      ["EXAMPLE.com", "www.example.COM:80", true],
      ["bücher.example", "www.xn--bcher-kva.example:80", true],
      ["xn--bcher-kva.example", "BÜCHER.example:80", true]
    ])
  })

  it("is a list, with commas, blanks or both between", () => {
    check([
      ["a.test,b.test", "b.test:80", true],
      ["a.test, b.test", "b.test:80", true],
      ["a.test b.test", "b.test:80", true],
      [" ,, a.test ,,  b.test\t,", "b.test:80", true],
      ["a.test,b.test", "c.test:80", false],
      ["", "a.test:80", false],
      [" , ", "a.test:80", false]
    ])
  })

  it("is everything where it is an asterisk, which is no wildcard otherwise", () => {
    check([
      ["*", "example.com:80", true],
      ["*", "10.0.0.1:80", true],
      [" * ", "[::1]:80", true],
      ["*.example.com", "www.example.com:80", false],
      ["a.test,*", "www.example.com:80", false],
      ["*", "fe80.test:1", true]
    ])
  })

  it("matches addresses as numbers, and networks", () => {
    check([
      ["127.0.0.1", "127.0.0.1:80", true],
      ["127.0.0.1", "127.0.0.2:80", false],
      ["0.0.1", "127.0.0.1:80", false],
      [".0.0.1", "127.0.0.1:80", false],
      ["192.168.0.0/16", "192.168.255.1:80", true],
      ["192.168.0.0/16", "192.169.0.1:80", false],
      ["192.168.7.9/16", "192.168.0.1:80", true],
      ["192.168.0.0/32", "192.168.0.1:80", false],
      ["192.168.0.0/33", "192.168.0.0:80", false],
      ["192.168.0.0/x", "192.168.0.0:80", false],
      ["0.0.0.0/0", "192.168.0.1:80", true],
      ["0.0.0.0/0", "[::1]:80", false],
      ["10.0.0.0/8", "10.example.com:80", false],
      ["::1", "[::1]:80", true],
      ["0:0::1", "[::1]:80", true],
      ["[::1]", "[::1]:80", true],
      ["::1", "[::2]:80", false],
      ["2001:db8::/32", "[2001:db8:ffff::1]:80", true],
      ["[2001:db8::/32]", "[2001:db8:ffff::1]:80", true],
      ["2001:db8::/32", "[2001:db9::1]:80", false],
      ["2001:db8::/33", "[2001:db8:8000::1]:80", false],
      ["fe80::/10", "[fe80::1%eth0]:80", true]
    ])
  })

  it("can be for one port of a host", () => {
    check([
      ["example.com:8080", "www.example.com:8080", true],
      ["example.com:8080", "example.com:80", false],
      ["10.0.0.1:80", "10.0.0.1:80", true],
      ["10.0.0.1:80", "10.0.0.1:81", false],
      ["[::1]:80", "[::1]:80", true],
      ["[::1]:80", "[::1]:81", false],
      // without brackets it is all address
      ["::1:80", "[::1]:80", false],
      ["::1:80", "[::1:80]:443", true]
    ])
  })

  it("takes what makes no sense for nothing", () => {
    check([
      ["[::1", "[::1]:80", false],
      ["::1]", "[::1]:80", false],
      ["[]", "[::1]:80", false],
      ["example.com:port", "example.com:80", false],
      ["http://example.com", "example.com:80", false],
      ["exa mple.com", "example.com:80", false],
      ["exa mple.com", "mple.com:80", true],
      ["-", "example.com:80", false],
      ["[::1,example.com", "example.com:80", true]
    ])
  })
})

import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as HostNames from "../../../../src/internal/ssh/hostKeys/hostNames.ts"

const about = (names: string, ...hosts: ReadonlyArray<string>) =>
  hosts.filter((host) => HostNames.areAbout(names, HostNames.asBytes(host)))

const Text = Schema.Array(Schema.Literals(["a", "b", "A", "."])).check(Schema.isMaxLength(6))
const Pattern = Schema.Array(Schema.Literals(["a", "b", "A", ".", "*", "?"])).check(Schema.isMaxLength(6))

/** The same in other words. */
const expression = (pattern: string) =>
  new RegExp(`^${pattern.replaceAll(".", "\\.").replaceAll("?", ".").replaceAll("*", ".*")}$`, "i")

describe("names of hosts", () => {
  it("are written as OpenSSH does", () => {
    const names = (host: string, port: number, alias?: string) => HostNames.namesOf({ host, port, alias })
    assert.deepStrictEqual(names("Db.Internal", 22), { name: "db.internal", withoutPort: undefined })
    assert.deepStrictEqual(names("DB", 2222), { name: "[db]:2222", withoutPort: "db" })
    assert.deepStrictEqual(names("::1", 22), { name: "::1", withoutPort: undefined })
    assert.deepStrictEqual(names("0:0::1", 2222), { name: "[::1]:2222", withoutPort: "::1" })
    assert.deepStrictEqual(names("FE80::AB%eth0", 22).name, "fe80::ab%eth0")
    assert.deepStrictEqual(names("10.0.0.1", 22).name, "10.0.0.1")
    assert.deepStrictEqual(names("bÜcher", 22).name, "bÜcher")
    assert.deepStrictEqual(names("db", 2222, "Alias"), { name: "alias", withoutPort: undefined })
  })

  it("can be written when they mean themselves", () => {
    for (const host of ["db", "db.internal", "10.0.0.1", "fe80::1%eth0", "bücher", "a_b-c"]) {
      assert.isTrue(HostNames.isWritable({ host, port: 22 }), host)
    }
    for (
      const host of ["a,b", "a b", "a\tb", "a\nb", "*", "a?", "!a", "@a", "#a", "|1|a", "[a]", "a\"", "a\\", "a\0"]
    ) {
      assert.isFalse(HostNames.isWritable({ host, port: 22 }), host)
      assert.isFalse(HostNames.isWritable({ host: "db", port: 22, alias: host }), host)
    }
    assert.isTrue(HostNames.isWritable({ host: "*", port: 22, alias: "db" }))
  })

  it("match patterns and lists of them", () => {
    const hosts = [
      "a.internal",
      "a.b.internal",
      "web-01",
      "internal",
      "secret.internal",
      "web-1",
      "web-001",
      "axinternal"
    ]
    assert.deepStrictEqual(about("*.internal,web-??,!secret.internal", ...hosts), [
      "a.internal",
      "a.b.internal",
      "web-01"
    ])
    assert.deepStrictEqual(about("[db]:*", "[db]:2222", "db"), ["[db]:2222"])
    assert.deepStrictEqual(about("!db", "db", "web"), [])
    assert.deepStrictEqual(about("A+b", "a+b", "aab"), ["a+b"])
    assert.deepStrictEqual(about("", "db"), [])
    assert.deepStrictEqual(about(",db,", "db"), ["db"])
  })

  it("are compared byte by byte, letters of ASCII in either case", () => {
    assert.deepStrictEqual(about(HostNames.asBytes("BüCHER"), "bücher", "bÜcher"), ["bücher"])
    assert.deepStrictEqual(about("b??cher", "bücher"), ["bücher"])
    assert.deepStrictEqual(about("b?cher", "bücher"), [])
  })

  it("are found where they were hashed with ssh-keygen", () => {
    const hosts = ["hashed.test", "10.0.0.9", "[hashed.test]:2222", "[hashed.test]:22", "other.test"]
    assert.deepStrictEqual(about("|1|Oqm3cGxJl/syKi5zBVVIcc7H8hI=|x/y0pBpmHfytACEwkr6jasTv0rc=", ...hosts), [
      "hashed.test"
    ])
    assert.deepStrictEqual(about("|1|V9l1jaUNDxeOVizUdYIUZ9Ndy5A=|lX84rPRLMCQFEusqV7e4WF9iGxY=", ...hosts), [
      "10.0.0.9"
    ])
    assert.deepStrictEqual(about("|1|4jnsY85AAnG4mHvcbVyLBodt3/k=|QTYNJSzeQZv7ZRBzWxcu9bEtg28=", ...hosts), [
      "[hashed.test]:2222"
    ])
    for (const broken of ["|", "|1|", "|1||", "|1|Oqm3|x/y0", "|1|Oqm3cGxJl/syKi5zBVVIcc7H8hI=", "|2|a|b", "||||"]) {
      assert.deepStrictEqual(about(broken, ...hosts), [], broken)
    }
  })

  it("do not take for ever to match", () => {
    assert.deepStrictEqual(about(`${"*a".repeat(200)}b`, "a".repeat(1000)), [])
  })

  it.effect.prop(
    "match as the expressions do that patterns stand for",
    { pattern: Pattern, text: Text },
    (given) =>
      Effect.sync(() => {
        const [pattern, text] = [given.pattern.join(""), given.text.join("")]
        assert.strictEqual(about(pattern, text.toLowerCase()).length === 1, expression(pattern).test(text))
        assert.strictEqual(about(`*,!${pattern}`, text.toLowerCase()).length === 1, !expression(pattern).test(text))
      })
  )

  it.effect.prop(
    "are found when they are hashed, and cannot be read",
    { name: Schema.String },
    ({ name }) =>
      Effect.sync(() => {
        const hashed = HostNames.hashed(name)
        assert.notStrictEqual(HostNames.hashed(name), hashed)
        assert.match(hashed, /^\|1\|[\w+/]{27}=\|[\w+/]{27}=$/)
        assert.deepStrictEqual(about(hashed, name, `${name}x`), [name])
      })
  )
})

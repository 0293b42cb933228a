import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import {
  addMetadata,
  decodeMetadata,
  type MetadataInput,
  type OutgoingHeaders,
  type RawHeaders,
  single
} from "../../../../src/internal/grpc/wire/metadata.ts"

const Name = Schema.String.check(Schema.isPattern(/^x-[a-z0-9_.-]{0,12}[a-z0-9_.]$/), Schema.isMaxLength(15))

const Text = Schema.String.check(Schema.isPattern(/^(?:[!-~](?:[ -~]{0,20}[!-~])?)?$/))

const isText = (name: string) => !name.endsWith("-bin")

/** Headers as the other side of HTTP/2 gets them. */
const raw = (headers: OutgoingHeaders): RawHeaders =>
  Object.entries(headers).flatMap(([name, value]) => [value].flat().flatMap((one) => [name, one]))

const sent = (...inputs: ReadonlyArray<MetadataInput | undefined>): OutgoingHeaders => {
  const headers: OutgoingHeaders = {}
  for (const input of inputs) Result.getOrThrow(addMetadata(headers, input))
  return headers
}

const problemOf = (...inputs: ReadonlyArray<MetadataInput>) => {
  const headers: OutgoingHeaders = {}
  for (const input of inputs) {
    const added = addMetadata(headers, input)
    if (Result.isFailure(added)) return added.failure
  }
  return assert.fail("it was taken")
}

const plain = (values: Record<string, ReadonlyArray<Uint8Array>>) =>
  Object.fromEntries(Object.entries(values).map(([name, all]) => [name, all.map((bytes) => [...bytes])]))

describe("metadata", () => {
  it.effect.prop(
    "of any names and values survives",
    {
      text: Schema.Record(Name, Schema.NonEmptyArray(Text)),
      binary: Schema.Record(Name, Schema.NonEmptyArray(Schema.Uint8Array))
    },
    ({ binary, text }) =>
      Effect.sync(() => {
        const texts = Object.fromEntries(Object.entries(text).filter(([name]) => isText(name)))
        const binaries = Object.fromEntries(Object.entries(binary).map(([name, values]) => [`${name}-bin`, values]))
        const got = decodeMetadata(raw(sent({ ...texts, ...binaries })))
        assert.deepStrictEqual(got.text, texts)
        assert.deepStrictEqual(plain(got.binary), plain(binaries))
      }),
    { arbitrary: { runs: 200 } }
  )

  it.effect.prop(
    "that is binary is understood with padding and without, joined by commas or not",
    {
      values: Schema.NonEmptyArray(Schema.Uint8Array),
      padded: Schema.Boolean,
      separator: Schema.Literals([",", ", "])
    },
    ({ padded, separator, values }) =>
      Effect.sync(() => {
        const encoded = values.map((value) => {
          const base64 = Buffer.from(value).toString("base64")
          return padded ? base64 : base64.replace(/=+$/, "")
        })
        const apart = encoded.flatMap((value) => ["x-bin", value])
        for (const headers of [apart, ["x-bin", encoded.join(separator)]]) {
          assert.deepStrictEqual(plain(decodeMetadata(headers).binary), plain({ "x-bin": values }))
        }
      }),
    { arbitrary: { runs: 200 } }
  )

  it("goes out in lower case and without padding", () => {
    assert.deepStrictEqual(sent({ "X-Trace": "a", "X-Key-Bin": Uint8Array.of(1) }), {
      "x-trace": "a",
      "x-key-bin": "AQ"
    })
  })

  it("adds to what is there, in order", () => {
    const headers = sent({ a: "1" }, undefined, { a: ["2", "3"], b: undefined }, { A: "4" })
    assert.deepStrictEqual(headers, { a: ["1", "2", "3", "4"] })
  })

  it("reveals secrets only to the wire", () => {
    assert.deepStrictEqual(sent({ authorization: Redacted.make("Bearer x") }), { authorization: "Bearer x" })
    const problem = problemOf({ authorization: Redacted.make("secret\n") })
    assert.notInclude(JSON.stringify(problem), "secret")
    assert.notInclude(problem.message, "secret")
  })

  it("is refused where HTTP/2 would refuse or change it", () => {
    for (const value of ["a\nb", "ü", " a", "a ", "\t", "\u0000", "a\u007f"]) {
      assert.strictEqual(problemOf({ x: value }).reason._tag, "WrongType", JSON.stringify(value))
    }
    for (const name of ["", "a b", "ü", "a:b", ":path", "a\n"]) {
      assert.strictEqual(problemOf({ [name]: "1" }).reason._tag, "WrongType", JSON.stringify(name))
    }
    problemOf({ "x-bin": "text" })
    problemOf({ x: Uint8Array.of(1) })
  })

  it("is refused under the names of gRPC and HTTP, in any case", () => {
    for (const name of ["grpc-timeout", "grpc-status", "Content-Type", "TE", "host", "connection", "grpc-encoding"]) {
      assert.include(problemOf({ [name]: "1" }).message, name)
    }
  })

  it("has some names only once", () => {
    assert.include(problemOf({ authorization: ["a", "b"] }).message, "once")
    assert.include(problemOf({ authorization: "a" }, { Authorization: "b" }).message, "once")
  })

  it("that came is without what gRPC and HTTP said", () => {
    const headers = [":status", "200", "content-type", "application/grpc", "grpc-status", "0", "x", "1", "x", "2"]
    assert.deepStrictEqual(decodeMetadata(headers), { text: { x: ["1", "2"] }, binary: {} })
    assert.deepStrictEqual(decodeMetadata(undefined), { text: {}, binary: {} })
  })

  it.effect.prop(
    "that came is never an error, whatever the peer calls it",
    { headers: Schema.Array(Schema.String) },
    ({ headers }) =>
      Effect.sync(() => {
        const { binary, text } = decodeMetadata(headers.length % 2 === 0 ? headers : [...headers, ""])
        for (const name of Object.keys(text)) assert.isTrue(isText(name))
        for (const name of Object.keys(binary)) assert.isFalse(isText(name))
      })
  )

  it("can have names that objects have", () => {
    for (const name of ["__proto__", "constructor", "toString", "hasownproperty"]) {
      const { binary, text } = decodeMetadata([name, "1", name, "2", `${name}-bin`, "AQ"])
      assert.deepStrictEqual(Object.entries(text), [[name, ["1", "2"]]])
      assert.deepStrictEqual(Object.entries(binary), [[`${name}-bin`, [Uint8Array.of(1)]]])
    }
    assert.deepStrictEqual(sent({ constructor: "1", hasownproperty: ["2", "3"] }), {
      constructor: "1",
      hasownproperty: ["2", "3"]
    })
    // but this one cannot be in the headers that Node takes
    problemOf(JSON.parse(`{"__proto__":"1"}`))
    assert.isUndefined(Reflect.get({}, "1"))
  })

  it("has a first value of each name", () => {
    assert.strictEqual(single(["a", "1", "b", "2", "a", "3"], "a"), "1")
    // a value is no name
    assert.isUndefined(single(["a", "b"], "b"))
  })
})

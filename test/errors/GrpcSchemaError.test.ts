import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Errors from "../../src/errors/GrpcSchemaError.ts"

const url = "https://example.com/a.proto"

const reasons: ReadonlyArray<
  readonly [reason: Errors.GrpcSchemaErrorReason, message: string, isRetryable: boolean]
> = [
  [new Errors.Syntax({ file: "a.proto", line: 3, detail: "illegal token '}'" }), "a.proto:3: illegal token '}'", false],
  [new Errors.Syntax({ file: "a.proto", detail: "it imports itself" }), "a.proto: it imports itself", false],
  [
    new Errors.MissingImport({ file: "a.proto", import: "b.proto" }),
    `a.proto imports "b.proto", which is not there`,
    false
  ],
  [new Errors.UnresolvedType({ file: "a.proto", type: "acme.A" }), `a.proto: nothing defines the type "acme.A"`, false],
  [new Errors.UnresolvedType({ type: "acme.A" }), `nothing defines the type "acme.A"`, false],
  [new Errors.UnreadableFile({ path: "/a.proto" }), `cannot read "/a.proto"`, false],
  [
    new Errors.Unfetchable({ url, status: 503, why: "the server says 503 Service Unavailable" }),
    `cannot fetch ${url}: the server says 503 Service Unavailable`,
    true
  ],
  [new Errors.Unfetchable({ url, status: 429, why: "busy" }), `cannot fetch ${url}: busy`, true],
  [new Errors.Unfetchable({ url, status: 403, why: "no" }), `cannot fetch ${url}: no`, false],
  [
    new Errors.Unfetchable({ url, why: "it redirects to itself" }),
    `cannot fetch ${url}: it redirects to itself`,
    false
  ],
  [
    new Errors.TooLarge({ file: url, limit: 10, of: "bytes in a file" }),
    `${url} is too much: at most 10 bytes in a file are accepted`,
    false
  ],
  [new Errors.BadReflection({ why: "no service" }), "server reflection: no service", false],
  [new Errors.BadReflection({ why: "away", status: "Unavailable" }), "server reflection: away", true],
  [new Errors.BadReflection({ why: "who?", status: "Unauthenticated" }), "server reflection: who?", false],
  [new Errors.UnknownType({ kind: "enum", name: "acme.A" }), `no enum "acme.A"`, false],
  [new Errors.UnknownMethod({ method: "a.B/C", known: [] }), `no method "a.B/C"; there are: none`, false],
  [
    new Errors.UnknownMethod({ method: "a.B/C", known: ["a.B/D", "a.B/E"] }),
    `no method "a.B/C"; there are: a.B/D, a.B/E`,
    false
  ],
  [
    new Errors.UnknownField({ path: "a.b", known: ["c"] }),
    `no field "a.b"; there are: c`,
    false
  ],
  [
    new Errors.WrongType({ path: "a", expected: "true or false", got: "1" }),
    `"a" should be true or false and is 1`,
    false
  ],
  [
    new Errors.WrongKind({ method: "a.B/C", kind: "unary", calledAs: "bidi" }),
    `"a.B/C" is a unary method and was called as a bidirectional stream`,
    false
  ],
  [
    new Errors.InvalidMessage({ method: "a.B/C", part: "request", path: "a.b", detail: "not this" }),
    `the request of "a.B/C" is wrong at "a.b": not this`,
    false
  ],
  [
    new Errors.MissingPackage({ package: "x" }),
    `the package "x" cannot be loaded; is it installed beside this one?`,
    false
  ],
  [new Errors.UnhandledMethod({ method: "a.B/C" }), `nobody handles "a.B/C"`, false]
]

describe("GrpcSchemaError", () => {
  for (const [reason, message, isRetryable] of reasons) {
    it(`says what is wrong: ${message}`, () => {
      const error = new Errors.GrpcSchemaError({ reason })
      assert.strictEqual(error.message, message)
      assert.strictEqual(error.isRetryable, isRetryable)
      assert.strictEqual(error.cause, reason)
    })
  }

  it("has one line for every reason there is", () => {
    const all = Errors.GrpcSchemaErrorReason.members.map((member) => member.identifier.split("/").at(-1) ?? "")
    assert.deepStrictEqual(all.filter((name) => !reasons.some(([reason]) => reason._tag === name)), [])
  })

  it.effect("can be caught by its reason", () =>
    Effect.gen(function*() {
      const error = new Errors.GrpcSchemaError({ reason: new Errors.MissingImport({ file: "a", import: "b" }) })
      const caught = yield* Effect.fail(error).pipe(
        Effect.catchReason("GrpcSchemaError", "MissingImport", (reason) => Effect.succeed(reason.import))
      )
      assert.strictEqual(caught, "b")
    }))
})

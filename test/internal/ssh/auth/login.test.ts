import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { AuthenticationFailed } from "../../../../src/errors/SshError.ts"
import type { Exchange } from "../../../../src/internal/ssh/auth/exchange.ts"
import { type Attempt, givenUp, Login, type Outcome } from "../../../../src/internal/ssh/auth/login.ts"

const accepted: Outcome = { _tag: "Accepted" }
const refused = (...remaining: ReadonlyArray<string>): Outcome => ({ _tag: "Refused", remaining, partial: false })
const partly = (...remaining: ReadonlyArray<string>): Outcome => ({ _tag: "Refused", remaining, partial: true })

const exchange: Exchange = {
  opened: Effect.void,
  sessionId: () => new Uint8Array(),
  signatures: () => undefined,
  hasAsked: () => false,
  ask: () => Effect.succeed({ _tag: "Refused", remaining: ["publickey"], partial: false })
}

/** Runs a login whose server gives these answers, one after the other; gives what was tried, and how it came out. */
const run = (
  answers: ReadonlyArray<Outcome>,
  ...attempts: ReadonlyArray<Omit<Attempt, "run">>
) =>
  Effect.gen(function*() {
    const tried: Array<string> = []
    const left = [...answers]
    const login = new Login(attempts.map(({ detail, identity, method }) => ({
      method,
      detail,
      identity,
      run: () =>
        Effect.sync(() => {
          tried.push(detail ?? method)
          return left.shift() ?? assert.fail("one attempt too many")
        })
    })))
    const outcome = yield* Effect.result(login.run(exchange, "demo"))
    assert.deepStrictEqual(left, [])
    return { tried, failure: outcome._tag === "Failure" ? outcome.failure : undefined }
  })

const key = { method: "publickey", detail: "key", identity: "1" } as const
const otherKey = { method: "publickey", detail: "other", identity: "2" } as const
const password = { method: "password" } as const

describe("Login", () => {
  it.effect("tries what it has in order while the server wants it", () =>
    Effect.gen(function*() {
      const both = refused("publickey", "password")
      assert.deepStrictEqual(yield* run([both, both, both], key, otherKey, password), {
        tried: ["key", "other", "password"],
        failure: new AuthenticationFailed({
          tried: ["publickey (key)", "publickey (other)", "password"],
          remaining: ["publickey", "password"]
        })
      })
      assert.deepStrictEqual(yield* run([both, accepted], key, otherKey, password), {
        tried: ["key", "other"],
        failure: undefined
      })
    }))

  it.effect("keeps for later what the server does not want yet", () =>
    Effect.gen(function*() {
      const { tried } = yield* run(
        [refused("publickey"), partly("password"), accepted],
        { method: "none" },
        password,
        key
      )
      assert.deepStrictEqual(tried, ["none", "key", "password"])
    }))

  it.effect("tries again after a success what failed before it, but not what succeeded", () =>
    Effect.gen(function*() {
      const answers = [refused("publickey"), partly("password"), partly("password", "publickey")]
      const { failure, tried } = yield* run(answers, password, key)
      assert.deepStrictEqual(tried, ["password", "key", "password"])
      assert.deepInclude(failure, { remaining: ["password", "publickey"] })
    }))

  it.effect("does not offer a key twice, unless a success came between", () =>
    Effect.gen(function*() {
      const again = { ...key, detail: "again" }
      assert.deepStrictEqual((yield* run([refused("publickey")], key, again)).tried, ["key"])
      const answers = [refused("publickey"), partly("publickey"), accepted]
      assert.deepStrictEqual((yield* run(answers, key, otherKey, again)).tried, ["key", "other", "key"])
    }))

  it.effect("has nothing to try where nothing was given, and finds out what the server accepts", () =>
    Effect.gen(function*() {
      const { failure } = yield* run([])
      assert.strictEqual(failure?.message, "authentication failed: tried nothing; the server accepts publickey")
    }))

  it.effect("says what is the matter with an attempt, and goes on", () =>
    Effect.gen(function*() {
      const remarked: Outcome = { _tag: "Refused", remaining: ["publickey"], partial: false, note: "it is old" }
      const { failure } = yield* run(
        [givenUp("it has to be changed"), remarked, refused("publickey")],
        password,
        key,
        otherKey
      )
      assert.deepInclude(failure, {
        tried: ["password (it has to be changed)", "publickey (key; it is old)", "publickey (other)"]
      })
    }))

  it.effect("takes a goodbye that is about the login for its end, and no other", () =>
    Effect.gen(function*() {
      const login = new Login([{ ...key, run: () => Effect.never }])
      const goodbye = (code: number, words: string) => Object.assign(new Error(words), { code })
      const tooMany = goodbye(2, "Too many authentication failures")
      assert.isUndefined(login.endedBy(tooMany))
      yield* Effect.timeoutOption(login.run(exchange, "demo"), 0)
      const others = [
        new Error("read ECONNRESET"),
        new Error("Malformed USERAUTH_FAILURE"),
        goodbye(11, "Server is going")
      ]
      for (const other of others) assert.isUndefined(login.endedBy(other))
      assert.deepInclude(login.endedBy(tooMany), {
        tried: ["publickey (key): Too many authentication failures"],
        remaining: []
      })
      assert.deepInclude(login.endedBy(goodbye(14, "No more")), { remaining: [] })
    }).pipe(Effect.scoped))
})

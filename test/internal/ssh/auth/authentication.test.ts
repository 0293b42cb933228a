import { assert, describe, it } from "@effect/vitest"
import { type Attempt, Authentication } from "../../../../src/internal/ssh/auth/authentication.ts"

const attempt = (method: Attempt["method"]): Attempt => ({ method, start: (username) => ({ type: "none", username }) })
const key = attempt("publickey")
const otherKey = attempt("publickey")
const password = attempt("password")

describe("Authentication", () => {
  it("tries what it has in order while the server wants it", () => {
    const authentication = new Authentication([key, otherKey, password])
    assert.strictEqual(authentication.next(null, null), key)
    assert.strictEqual(authentication.next(["publickey", "password"], false), otherKey)
    assert.strictEqual(authentication.next(["publickey", "password"], false), password)
    assert.isUndefined(authentication.next(["publickey", "password"], false))
    assert.deepInclude(authentication.failure(), {
      tried: ["publickey", "publickey", "password"],
      remaining: ["publickey", "password"]
    })
  })

  it("keeps for later what the server does not want yet", () => {
    const authentication = new Authentication([attempt("none"), password, key])
    authentication.next(null, null)
    assert.strictEqual(authentication.next(["publickey"], false), key)
    assert.strictEqual(authentication.next(["password"], true), password)
    assert.isUndefined(authentication.next(["password"], false))
  })

  it("tries again after a success what failed before it, but not what succeeded", () => {
    const authentication = new Authentication([password, key])
    assert.strictEqual(authentication.next(null, null), password)
    assert.strictEqual(authentication.next(["publickey"], false), key)
    assert.strictEqual(authentication.next(["password"], true), password)
    assert.isUndefined(authentication.next(["password", "publickey"], true))
  })

  it("has nothing to try where nothing was given", () => {
    const authentication = new Authentication([])
    assert.isUndefined(authentication.next(null, null))
    assert.strictEqual(
      authentication.failure().message,
      "authentication failed: tried nothing; the server accepts nothing"
    )
  })

  it("says what is the matter with the last attempt", () => {
    const authentication = new Authentication([key, password])
    authentication.next(null, null)
    authentication.next(["password"], false)
    assert.deepStrictEqual(authentication.failure("it has to be changed").tried, [
      "publickey",
      "password (it has to be changed)"
    ])
  })
})

import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Host from "effect/net/Host"
import * as Redacted from "effect/Redacted"
import { inspect } from "node:util"
import { environment, type Scheme } from "../../../src/internal/proxy/environment.ts"

type Env = Record<string, string>

/** The way that an environment has to a target. */
const route = (env: Env, target: string, scheme?: Scheme) =>
  environment(scheme).parse(ConfigProvider.fromEnv({ env })).pipe(
    Effect.map((choose) => choose(Host.hostPortFromInputUnsafe(target))),
    Effect.map((route) => Redacted.isRedacted(route) ? Redacted.value(route) : route)
  )

const check = (env: Env, cases: ReadonlyArray<readonly [target: string, expected: string, scheme?: Scheme]>) =>
  Effect.forEach(
    cases,
    ([target, expected, scheme]) =>
      Effect.map(
        route(env, target, scheme),
        (found) => assert.strictEqual(found, expected, `${target} ${scheme} ${inspect(env)}`)
      )
  )

const every = { ALL_PROXY: "socks5://all.test", HTTPS_PROXY: "http://secure.test", HTTP_PROXY: "http://plain.test" }

describe("proxies of the environment", () => {
  it.effect("go by the port, or by what the connections carry", () =>
    check(every, [
      ["a.test:443", "http://secure.test"],
      ["a.test:80", "http://plain.test"],
      ["a.test:5432", "socks5://all.test"],
      ["a.test:5432", "http://secure.test", "https"],
      ["a.test:443", "http://plain.test", "http"],
      ["[::1]:80", "http://secure.test", "https"]
    ]))

  it.effect("fall back to ALL_PROXY, and without that to none", () =>
    Effect.gen(function*() {
      yield* check({ all_proxy: "socks5://all.test" }, [
        ["a.test:443", "socks5://all.test"],
        ["a.test:80", "socks5://all.test", "http"]
      ])
      yield* check({ HTTPS_PROXY: "http://secure.test" }, [
        ["a.test:443", "http://secure.test"],
        ["a.test:80", "direct"],
        ["a.test:5432", "direct"]
      ])
      yield* check({}, [["a.test:443", "direct"], ["a.test:80", "direct"], ["a.test:1", "direct"]])
    }))

  it.effect("are in lower case first, and are not there where they are empty", () =>
    Effect.gen(function*() {
      const lower = { all_proxy: "socks5://low.test", https_proxy: "http://low.test", http_proxy: "http://low.test" }
      yield* check({ ...every, ...lower }, [
        ["a.test:443", "http://low.test"],
        ["a.test:80", "http://low.test"],
        ["a.test:1", "socks5://low.test"]
      ])
      yield* check({ ...every, https_proxy: "", HTTP_PROXY: "" }, [
        ["a.test:443", "http://secure.test"],
        ["a.test:80", "socks5://all.test"]
      ])
      yield* check({ ...every, no_proxy: "b.test", NO_PROXY: "a.test" }, [["a.test:443", "http://secure.test"]])
    }))

  it.effect("do not take HTTP_PROXY from the client of a CGI program", () =>
    check({ REQUEST_METHOD: "GET", HTTP_PROXY: "http://evil.test" }, [["a.test:80", "direct"]]).pipe(
      Effect.andThen(
        check({ REQUEST_METHOD: "GET", http_proxy: "http://plain.test" }, [["a.test:80", "http://plain.test"]])
      )
    ))

  it.effect("are http proxies where they do not say", () =>
    check({ HTTPS_PROXY: "user:pass@secure.test:3128" }, [["a.test:443", "http://user:pass@secure.test:3128"]]))

  it.effect("are not for what NO_PROXY names", () =>
    check({ ...every, NO_PROXY: "a.test, 10.0.0.0/8" }, [
      ["www.a.test:443", "direct"],
      ["10.1.2.3:1", "direct"],
      ["a.test:443", "direct", "http"],
      ["b.test:443", "http://secure.test"]
    ]))

  it.effect("do not mind other variables that begin as they do", () =>
    check({ ALL_PROXY: "socks5://all.test", ALL_PROXY_OPTIONS: "x", NO_PROXY_HINT: "y", HTTP_PROXY_X: "z" }, [
      ["a.test:80", "socks5://all.test"]
    ]))

  it.effect("stay redacted", () =>
    Effect.gen(function*() {
      const env = { ALL_PROXY: "socks5://user:hunter2@all.test", HTTPS_PROXY: "user:hunter2@secure.test" }
      const choose = yield* environment(undefined).parse(ConfigProvider.fromEnv({ env }))
      for (const target of ["a.test:1", "a.test:443"]) {
        const found = choose(Host.hostPortFromInputUnsafe(target))
        assert.isTrue(Redacted.isRedacted(found))
        assert.notInclude(inspect(found, { depth: 9, showHidden: true }) + JSON.stringify(found), "hunter2")
      }
    }))
})

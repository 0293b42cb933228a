import { assert, describe, it } from "@effect/vitest"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Fs from "node:fs"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as SshAgent from "../../src/services/SshAgent.ts"
import * as SshAuth from "../../src/services/SshAuth.ts"
import { leavesNothing } from "../support/leaks.ts"
import { describeOnNetworks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { temporaryFolder } from "../support/servers.ts"
import { connect, secret, sshServer, until } from "../support/ssh.ts"
import { generateKey, type QuestionRound } from "../support/sshPeer.ts"

type Body = () => Effect.Effect<unknown, unknown, Dialer.Dialer | Listener.Listener | Scope.Scope>

const provided = (body: Body) =>
  leavesNothing(Effect.provide(Effect.scoped(body()), Layer.merge(Dialer.layer, Listener.layer)))

const test = (title: string, body: Body) => it.live(title, () => provided(body))

/** With a clock that stands still. */
const timed = (title: string, body: Body) => it.effect(title, () => provided(body))

const code = Redacted.make("314159")

const rounds: ReadonlyArray<QuestionRound> = [
  { prompts: [{ prompt: "Password: ", echo: false, answer: Redacted.value(secret) }] },
  { title: "Second factor", instruction: "Look at your telephone", prompts: [] },
  {
    prompts: [
      { prompt: "Code: ", echo: false, answer: Redacted.value(code) },
      { prompt: "Floor: ", echo: true, answer: "3" }
    ]
  }
]

class Cancelled extends Data.TaggedError("Cancelled")<{ readonly typed: string }> {}

const cancelled = Effect.fail(new Cancelled({ typed: "314" }))

describeOnNetworks("SshAuth", (test) => {
  test("answers question after question", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshServer({ questions: rounds })
      const auth = SshAuth.keyboardInteractive(secret, code, Redacted.make("3"))
      assert.strictEqual((yield* (yield* connect({ ...settings, auth })).execute("echo in")).text, "in\n")
    }))

  test("logs in with the keys of an agent", () =>
    Effect.gen(function*() {
      const keys = [generateKey(), generateKey()] as const
      const { settings } = yield* sshServer({ authorizedKeys: [keys[1].public] })
      const agent = SshAgent.inMemory({ key: keys[0].private }, { key: keys[1].private })
      const session = yield* connect({ ...settings, auth: SshAuth.agent(agent) })
      assert.strictEqual((yield* session.execute("echo in")).text, "in\n")
    }))
})

describe("SshAuth.keyboardInteractive", () => {
  test("asks a function in each round, also in one that only says something", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshServer({ questions: rounds })
      const asked: Array<SshAuth.Questions> = []
      const answers: Record<string, Redacted.Redacted> = {
        "Password: ": secret,
        "Code: ": code,
        "Floor: ": Redacted.make("3")
      }
      const auth = SshAuth.keyboardInteractive((questions) =>
        Effect.sync(() => {
          asked.push(questions)
          // what is answered to nothing does no harm
          return questions.prompts.length === 0 ? [secret] : questions.prompts.map(({ prompt }) => answers[prompt]!)
        })
      )
      yield* connect({ ...settings, auth })
      assert.deepStrictEqual(asked, [
        { name: "", instruction: "", prompts: [{ prompt: "Password: ", echo: false }] },
        { name: "Second factor", instruction: "Look at your telephone", prompts: [] },
        { name: "", instruction: "", prompts: [{ prompt: "Code: ", echo: false }, { prompt: "Floor: ", echo: true }] }
      ])
    }))

  test("gives up where an answer is missing, and the next way is tried", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshServer({ questions: rounds })
      const few = SshAuth.keyboardInteractive(secret)
      assert.deepStrictEqual(yield* reasonOf(connect({ ...settings, auth: few })), {
        _tag: "AuthenticationFailed",
        tried: [`keyboard-interactive (no answer to "Code: ")`],
        remaining: ["keyboard-interactive"]
      })
      yield* connect({ ...settings, auth: [few, SshAuth.password(secret)] })
      const many = SshAuth.keyboardInteractive(() => Effect.succeed([secret, secret]))
      assert.deepInclude(yield* reasonOf(connect({ ...settings, auth: many })), {
        tried: ["keyboard-interactive (2 answers to 1 questions)"]
      })
    }))

  test("gives up when the function fails, whose words stay its own", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshServer({ questions: rounds })
      const auth = SshAuth.keyboardInteractive(() => cancelled)
      assert.deepInclude(yield* reasonOf(connect({ ...settings, auth })), {
        tried: ["keyboard-interactive (no answer: Cancelled)"]
      })
      for (const failure of [new TypeError("typed 314"), "typed 314"]) {
        const failing = SshAuth.keyboardInteractive(() => Effect.fail(failure))
        const reason = yield* reasonOf(connect({ ...settings, auth: failing }))
        assert.match(String(reason["tried"]), /\(no answer(: TypeError)?\)$/)
      }
      yield* connect({ ...settings, auth: [auth, SshAuth.password(secret)] })
    }))

  test("is refused with a wrong answer, and shows none", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshServer({ questions: rounds })
      const auth = SshAuth.keyboardInteractive(secret, Redacted.make("271828"), Redacted.make("3"))
      const error = yield* Effect.flip(connect({ ...settings, auth }))
      assert.include(error.message, "tried keyboard-interactive; the server accepts password, keyboard-interactive")
      assert.notMatch(`${error.message} ${error.stack} ${JSON.stringify(error)}`, /271828|horse/)
    }))

  timed("takes its time, which does not count", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshServer({ questions: rounds })
      const answered = yield* Deferred.make<ReadonlyArray<Redacted.Redacted>>()
      let asked = 0
      const auth = SshAuth.keyboardInteractive(({ prompts }) => {
        asked++
        return asked === 1
          ? Deferred.await(answered)
          : Effect.succeed(prompts.map(({ echo }) => echo ? Redacted.make("3") : code))
      })
      const connecting = yield* Effect.forkChild(connect({ ...settings, auth }))
      yield* until(() => asked === 1)
      yield* TestClock.adjust("1 hour")
      yield* Deferred.succeed(answered, [secret])
      yield* Fiber.join(connecting)
    }))

  test("is not asked any more when the server has gone, or when nobody wants the session", () =>
    Effect.gen(function*() {
      const { connections, kill, settings } = yield* sshServer({ questions: rounds })
      let asked = 0
      let stopped = 0
      const auth = SshAuth.keyboardInteractive(() =>
        Effect.onInterrupt(Effect.andThen(Effect.sync(() => asked++), Effect.never), () => Effect.sync(() => stopped++))
      )
      const abandoned = yield* Effect.forkChild(connect({ ...settings, auth }))
      yield* until(() => asked === 1)
      yield* Fiber.interrupt(abandoned)
      assert.strictEqual(stopped, 1)
      yield* until(() => connections() === 0)

      const cut = yield* Effect.forkChild(reasonOf(connect({ ...settings, auth })))
      yield* until(() => asked === 2)
      yield* kill
      assert.strictEqual((yield* Fiber.join(cut))["_tag"], "HandshakeFailed")
      assert.strictEqual(stopped, 2)
    }))
})

describe("SshAuth.password", () => {
  test("changes a password that has to be changed", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshServer({ passwordExpired: true, newPassword: "better horse" })
      const prompts: Array<string> = []
      const candidates = ["horse", "better horse"]
      const auth = SshAuth.password(secret, {
        change: (prompt) =>
          Effect.sync(() => {
            prompts.push(prompt)
            return Redacted.make(candidates.shift()!)
          })
      })
      yield* connect({ ...settings, auth })
      assert.deepStrictEqual(prompts, ["New password:", "New password:"])
    }))

  test("gives up when the server likes no new password, or nobody gives one", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshServer({ passwordExpired: true })
      const notes = { like: "the server accepted none of the new passwords", cancelled: "no answer: Cancelled" }
      const changes = { like: Effect.succeed(Redacted.make("horse")), cancelled }
      for (const how of ["like", "cancelled"] as const) {
        const auth = SshAuth.password(secret, { change: () => changes[how] })
        assert.deepStrictEqual(yield* reasonOf(connect({ ...settings, auth })), {
          _tag: "AuthenticationFailed",
          tried: [`password (${notes[how]})`],
          remaining: ["password"]
        })
      }
    }))

  test("answers the question for a password where the server asks only so", () =>
    Effect.gen(function*() {
      const question = { prompt: "Passwort: ", echo: false, answer: Redacted.value(secret) }
      const key = generateKey()
      const asking = { authorizedKeys: [key.public], password: undefined }
      const { settings } = yield* sshServer({ ...asking, questions: [{ prompts: [question] }, { prompts: [] }] })
      let asked = 0
      const auth = SshAuth.password(Effect.sync(() => {
        asked++
        return secret
      }))
      yield* connect({ ...settings, auth })
      assert.strictEqual(asked, 1)
      const wrong = SshAuth.password(Redacted.make("battery staple"))
      assert.deepStrictEqual(yield* reasonOf(connect({ ...settings, auth: wrong })), {
        _tag: "AuthenticationFailed",
        tried: ["password", "keyboard-interactive (with the password)"],
        remaining: ["publickey", "keyboard-interactive"]
      })
      const answers = [wrong, SshAuth.keyboardInteractive(secret)]
      yield* connect({ ...settings, auth: answers })
    }))

  test("answers no other question", () =>
    Effect.gen(function*() {
      const question = { prompt: "Password: ", echo: false, answer: Redacted.value(secret) }
      const others: ReadonlyArray<ReadonlyArray<QuestionRound>> = [
        [{ prompts: [{ ...question, echo: true }] }],
        [{ prompts: [question, { ...question, prompt: "Code: " }] }],
        [{ prompts: [question] }, { prompts: [{ ...question, prompt: "Code: " }] }]
      ]
      for (const questions of others) {
        const { settings } = yield* sshServer({ password: undefined, questions })
        assert.deepInclude(yield* reasonOf(connect({ ...settings, auth: SshAuth.password(secret) })), {
          tried: ["password", "keyboard-interactive (with the password; the server asks for more than a password)"]
        })
      }
      const { settings } = yield* sshServer({ questions: [{ prompts: [question] }] })
      const wrong = SshAuth.password(Redacted.make("battery staple"))
      assert.deepInclude(yield* reasonOf(connect({ ...settings, auth: wrong })), { tried: ["password"] })
    }))

  test("asks for the password when its turn has come", () =>
    Effect.gen(function*() {
      const key = generateKey()
      const { settings } = yield* sshServer({ authorizedKeys: [key.public] })
      let asked = 0
      const ask = SshAuth.password(Effect.sync(() => {
        asked++
        return secret
      }))
      yield* connect({ ...settings, auth: [SshAuth.privateKey({ key: key.private }), ask] })
      assert.strictEqual(asked, 0)
      yield* connect({ ...settings, auth: [SshAuth.privateKey({ key: generateKey().private }), ask] })
      assert.strictEqual(asked, 1)
      assert.deepStrictEqual(yield* reasonOf(connect({ ...settings, auth: SshAuth.password(cancelled) })), {
        _tag: "AuthenticationFailed",
        tried: ["password (no answer: Cancelled)"],
        remaining: ["publickey", "password"]
      })
    }))
})

describe("SshAuth.privateKey", () => {
  const passphrase = Redacted.make("open sesame")

  test("asks for the passphrase when the server would take the key", () =>
    Effect.gen(function*() {
      const locked = generateKey(passphrase)
      let asked = 0
      const auth = SshAuth.privateKey({
        key: locked.private,
        passphrase: Effect.sync(() => {
          asked++
          return passphrase
        })
      })
      const others = yield* sshServer({ authorizedKeys: [generateKey().public] })
      yield* reasonOf(connect({ ...others.settings, auth }))
      assert.strictEqual(asked, 0)
      const { settings } = yield* sshServer({ authorizedKeys: [locked.public] })
      yield* connect({ ...settings, auth })
      assert.strictEqual(asked, 1)
      const wrong = SshAuth.privateKey({
        key: locked.private,
        passphrase: Effect.succeed(Redacted.make("open barley"))
      })
      assert.deepStrictEqual(yield* reasonOf(connect({ ...settings, auth: wrong })), {
        _tag: "KeyUnreadable",
        detail: "the given text cannot be decrypted: the passphrase is wrong"
      })
      const nobody = SshAuth.privateKey({ key: locked.private, passphrase: cancelled })
      const reason = yield* reasonOf(connect({ ...settings, auth: nobody }))
      assert.match(String(reason["tried"]), /^publickey \(SHA256:\S+ the given text; no answer: Cancelled\)$/)
    }))

  test("reads a key file again when it has changed", () =>
    Effect.gen(function*() {
      const file = `${yield* temporaryFolder}/id`
      const keys = [generateKey(passphrase), generateKey(passphrase)] as const
      const { settings } = yield* sshServer({ authorizedKeys: [keys[1].public] })
      const auth = SshAuth.privateKey({ key: file, passphrase })
      Fs.writeFileSync(file, keys[0].private)
      assert.strictEqual((yield* reasonOf(connect({ ...settings, auth })))["_tag"], "AuthenticationFailed")
      Fs.writeFileSync(file, keys[1].private)
      yield* connect({ ...settings, auth })
      yield* connect({ ...settings, auth })
    }))
})

describe("SshAuth.agent", () => {
  const unavailable = SshAgent.socket("/nonexistent/agent")

  test("says before it dials that there is no agent, where there is no other way", () =>
    Effect.gen(function*() {
      const settings = { host: "127.0.0.1", port: 1, username: "demo" }
      const reason = yield* reasonOf(connect({ ...settings, auth: SshAuth.agent(unavailable) }))
      assert.strictEqual(reason["_tag"], "AgentUnavailable")
      assert.include(reason["detail"], "/nonexistent/agent")
    }))

  test("tries the other ways where there is no agent, and says so", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshServer({ authorizedKeys: [generateKey().public] })
      yield* connect({ ...settings, auth: [SshAuth.agent(unavailable), SshAuth.password(secret)] })
      const wrong = SshAuth.password(Redacted.make("battery staple"))
      const reason = yield* reasonOf(connect({ ...settings, auth: [SshAuth.agent(unavailable), wrong] }))
      assert.match(String(reason["tried"]), /^publickey \(agent \/nonexistent\/agent; .*\),password$/)
    }))

  test("fails with an agent that has no keys, or none of those asked for", () =>
    Effect.gen(function*() {
      const key = generateKey()
      const { settings } = yield* sshServer({ authorizedKeys: [key.public] })
      const tried = (auth: SshAuth.SshAuth) =>
        Effect.map(reasonOf(connect({ ...settings, auth })), ({ tried }) => tried)
      assert.deepStrictEqual(yield* tried(SshAuth.agent(SshAgent.inMemory())), [
        "publickey (agent in memory; it has no keys)"
      ])
      const agent = SshAgent.inMemory({ key: key.private })
      assert.deepStrictEqual(yield* tried(SshAuth.agent(agent, { keys: [generateKey().public] })), [
        "publickey (agent in memory; it has none of the keys asked for)"
      ])
    }))

  test("offers only the keys asked for, by fingerprint, by line or by file", () =>
    Effect.gen(function*() {
      const keys = [generateKey(), generateKey()] as const
      const { logins, settings } = yield* sshServer({ authorizedKeys: [keys[1].public] })
      const agent = SshAgent.inMemory({ key: keys[0].private }, { key: keys[1].private })
      const [, second] = yield* SshAgent.keys(agent)
      const file = `${yield* temporaryFolder}/id.pub`
      Fs.writeFileSync(file, `${keys[1].public}\n`)
      for (const name of [second!.fingerprint, keys[1].public, file]) {
        const before = logins()
        yield* connect({ ...settings, auth: SshAuth.agent(agent, { keys: [name] }) })
        // the question whether the key would do, and the signature
        assert.strictEqual(logins() - before, 2)
      }
      for (const [name, detail] of [[`${file}.not`, /ENOENT/], ["no key\n", /holds no public key/]] as const) {
        const reason = yield* reasonOf(connect({ ...settings, auth: SshAuth.agent(agent, { keys: [name] }) }))
        assert.strictEqual(reason["_tag"], "KeyUnreadable")
        assert.match(String(reason["detail"]), detail)
      }
    }))

  test("is not asked any more to sign when nobody wants the session, or the server has gone", () =>
    Effect.gen(function*() {
      const key = generateKey()
      const { connections, kill, settings } = yield* sshServer({ authorizedKeys: [key.public] })
      const real = SshAgent.inMemory({ key: key.private })
      let signing = 0
      let open = 0
      // lists its keys, and then thinks
      const slow: SshAgent.SshAgent = {
        name: "slow agent",
        connect: Effect.tap(real.connect, (duplex) =>
          Effect.acquireRelease(
            Effect.sync(() => {
              open++
              const write = duplex.write.bind(duplex)
              duplex.write = (chunk: Uint8Array) => {
                const isSigning = chunk[4] === 13
                if (isSigning) signing++
                return isSigning || write(chunk)
              }
            }),
            () => Effect.sync(() => open--)
          ))
      }
      const auth = SshAuth.agent(slow)
      const abandoned = yield* Effect.forkChild(connect({ ...settings, auth }))
      yield* until(() => signing === 1)
      yield* Fiber.interrupt(abandoned)
      assert.strictEqual(open, 0)
      yield* until(() => connections() === 0)
      const cut = yield* Effect.forkChild(reasonOf(connect({ ...settings, auth })))
      yield* until(() => signing === 2)
      yield* kill
      assert.strictEqual((yield* Fiber.join(cut))["_tag"], "HandshakeFailed")
      assert.strictEqual(open, 0)
    }))
})

import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"
import { AgentUnavailable } from "../../../../src/errors/SshError.ts"
import { closed } from "../../../../src/internal/net/duplex.ts"
import * as ConnectionLog from "../../../../src/services/ConnectionLog.ts"
import * as SshAgent from "../../../../src/services/SshAgent.ts"
import { describeOnNetworks } from "../../../support/network.ts"
import { connect, sshServer } from "../../../support/ssh.ts"
import { openAgent } from "../../../support/sshPeer.ts"
import { generateKey, type SshServer } from "../../../support/sshPeer.ts"
import { connected as connectedStreams, readAll, resetByUs } from "../../../support/streams.ts"

/** Asks for a connection to the client's agent, as a program of the server does. */
const ask = (server: SshServer): Effect.Effect<Duplex, Error> =>
  Effect.callback((resume) => {
    const [client] = server.clients
    openAgent(client, (error, channel) =>
      resume(error === undefined ? Effect.succeed(channel.on("error", () => {})) : Effect.fail(error)))
  })

/** An agent, as a program of the server sees it. */
const farAgent = (server: SshServer): SshAgent.SshAgent => ({
  name: "the forwarded agent",
  connect: Effect.acquireRelease(
    Effect.mapError(ask(server), (cause) => new AgentUnavailable({ detail: cause.message, cause })),
    (channel) => Effect.sync(() => void channel.end())
  )
})

/** An agent that is a connection of the test's own network, with the end that the agent has. */
const wire = Effect.gen(function*() {
  const { client, server } = yield* connectedStreams()
  const agent: SshAgent.SshAgent = { name: "agent of the test", connect: Effect.succeed(client) }
  return { agent, ours: client, theirs: server }
})

describeOnNetworks("agent forwarding", (test) => {
  test("lets programs of the server see the keys", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const agent = SshAgent.inMemory({ key: Redacted.make(generateKey().private) })
      const session = yield* connect({ ...server.settings, agentForwarding: agent })
      yield* session.execute("echo first")
      const seen = yield* SshAgent.keys(farAgent(server))
      assert.deepStrictEqual(seen, yield* SshAgent.keys(agent))
      assert.strictEqual(seen.length, 1)
      // and again, each on a connection of its own
      const both = Effect.all([SshAgent.keys(farAgent(server)), SshAgent.keys(farAgent(server))], { concurrency: 2 })
      assert.deepStrictEqual(yield* both, [seen, seen])
    }))

  test("asks nobody's agent unless told to", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const session = yield* connect(server.settings)
      yield* session.execute("echo first")
      assert.match((yield* Effect.flip(ask(server))).message, /failure/)
    }))

  test("asks it only once a command runs", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const { agent } = yield* wire
      yield* connect({ ...server.settings, agentForwarding: agent })
      assert.match((yield* Effect.flip(ask(server))).message, /failure/)
    }))

  test("runs commands without where the server does not allow it, and says so once", () =>
    Effect.gen(function*() {
      const server = yield* sshServer({ withoutAgents: true })
      const { agent } = yield* wire
      const session = yield* connect({ ...server.settings, agentForwarding: agent })
      for (const word of ["one", "two"]) {
        assert.strictEqual((yield* session.execute(`echo ${word}`)).text, `${word}\n`)
      }
      const log = yield* (yield* ConnectionLog.ConnectionLog).asString()
      assert.strictEqual(log.split("agent refused").length, 2)
    }).pipe(Effect.provide(ConnectionLog.layer())))

  test("tells a program that there is no agent", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const agent: SshAgent.SshAgent = {
        name: "agent",
        connect: Effect.fail(new AgentUnavailable({ detail: "nobody listens" }))
      }
      const session = yield* connect({ ...server.settings, agentForwarding: agent })
      yield* session.execute("echo first")
      assert.match((yield* Effect.flip(ask(server))).message, /failure/)
      assert.strictEqual((yield* session.execute("echo alive")).text, "alive\n")
    }))

  test("passes on that either side has ended or is gone", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const { agent, ours, theirs } = yield* wire
      const session = yield* connect({ ...server.settings, agentForwarding: agent })
      yield* session.execute("echo first")
      const program = yield* ask(server)
      program.end("question")
      assert.strictEqual(String((yield* readAll(theirs)).bytes), "question")
      theirs.end()
      yield* closed(ours)
    }))

  test("closes the program's connection when the agent breaks", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const { agent, theirs } = yield* wire
      const session = yield* connect({ ...server.settings, agentForwarding: agent })
      yield* session.execute("echo first")
      const program = yield* ask(server)
      yield* resetByUs(theirs)
      yield* readAll(program)
      assert.strictEqual((yield* session.execute("echo alive")).text, "alive\n")
    }))

  test("lets no more than 64 programs ask at a time", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const agent: SshAgent.SshAgent = { name: "agent", connect: Effect.never }
      const session = yield* connect({ ...server.settings, agentForwarding: agent })
      yield* session.execute("echo first")
      const asked = Array.from({ length: 65 }, () => Effect.flip(ask(server)))
      // the others wait for the agent
      assert.match((yield* Effect.raceAll(asked)).message, /failure/)
    }))

  test("ends with the session", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const { agent, ours } = yield* wire
      const scope = yield* Scope.make()
      const session = yield* Scope.provide(connect({ ...server.settings, agentForwarding: agent }), scope)
      yield* session.execute("echo first")
      yield* ask(server)
      yield* Scope.close(scope, Exit.void)
      yield* closed(ours)
      assert.isTrue(ours.destroyed)
    }))
})

import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Redacted, Stream } from "effect"
import { Ssh } from "hawser"
import { NetworkRule, TestNetwork, TestPeers } from "hawser/testing"
import { deploy } from "./deployment.ts"

/** A host that runs release 1, and on which a broken release does not start. */
const host = Effect.gen(function*() {
  const files = yield* TestPeers.sshFiles({
    "/srv/releases/1": "the first release",
    "/srv/current": { symlink: "releases/1" }
  })
  const server = yield* TestPeers.sshServer({
    address: "app:22",
    username: "deploy",
    password: Redacted.make("secret"),
    sftp: files,
    exec: {
      "systemctl restart app": () =>
        Effect.gen(function*() {
          yield* Effect.sleep("5 seconds")
          const release = yield* files.readString("/srv/current")
          return release.includes("broken") ? { stderr: "app failed to start\n", code: 1 } : 0
        })
    }
  })
  return { files, settings: server.settings, commands: server.commands }
})

const archive = (content: string) => Stream.make(Buffer.from(content))

const test = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  effect.pipe(Effect.provide(Ssh.layer), TestNetwork.simulated({ defaults: { latency: "20 millis" } }))

describe("a deployment", () => {
  it.effect("makes the new release the current one", () =>
    Effect.gen(function*() {
      const { commands, files, settings } = yield* host
      yield* deploy(settings, "2", archive("the second release"))
      assert.strictEqual(yield* files.readString("/srv/current"), "the second release")
      assert.deepStrictEqual((yield* commands).map(({ command }) => command), ["sftp", "systemctl restart app"])
    }).pipe(test))

  it.effect("goes back to the old release when the new one does not start", () =>
    Effect.gen(function*() {
      const { commands, files, settings } = yield* host
      const error = yield* Effect.flip(deploy(settings, "2", archive("broken")))
      assert.strictEqual(error._tag, "RolledBack")
      assert.strictEqual(yield* files.readString("/srv/current"), "the first release")
      assert.strictEqual((yield* commands).filter(({ kind }) => kind === "exec").length, 2)
    }).pipe(test))

  it.effect("changes nothing when the connection breaks during the upload", () =>
    Effect.gen(function*() {
      const { commands, files, settings } = yield* host
      const network = yield* TestNetwork.TestNetwork
      yield* network.rule(NetworkRule.when({ toServer: true, port: 22 }, NetworkRule.resetAt(100_000)))
      const error = yield* Effect.flip(deploy(settings, "2", archive("x".repeat(1_000_000))))
      assert.strictEqual(error._tag === "SshError" && error.reason._tag, "ConnectionLost")
      assert.strictEqual(yield* files.readString("/srv/current"), "the first release")
      assert.isFalse(yield* files.exists("/srv/releases/2"))
      assert.deepStrictEqual((yield* commands).map(({ command }) => command), ["sftp"])
    }).pipe(test))

  it.effect("gives up a host that has gone silent, after a while", () =>
    Effect.gen(function*() {
      const { settings } = yield* host
      const network = yield* TestNetwork.TestNetwork
      yield* Effect.forkScoped(Effect.delay(network.partition("app"), "2 seconds"))
      const [time, error] = yield* Effect.timed(Effect.flip(deploy(settings, "2", archive("the second release"))))
      assert.strictEqual(error._tag === "SshError" && error.reason._tag, "ConnectionLost")
      assert.isBelow(Duration.toSeconds(time), 120)
    }).pipe(test))
})

import { assert, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { DialError, Refused } from "../../src/errors/DialError.ts"
import * as SshTunnel from "../../src/layers/SshTunnel.ts"
import { Dialer } from "../../src/services/Dialer.ts"
import { Listener } from "../../src/services/Listener.ts"
import * as SshAuth from "../../src/services/SshAuth.ts"
import * as TcpServer from "../../src/services/TcpServer.ts"
import { dialThere } from "../support/forwarding.ts"
import { describeOnNetworks } from "../support/network.ts"
import { secret, sshServer } from "../support/ssh.ts"
import { readAll } from "../support/streams.ts"

describeOnNetworks("SshTunnel.layerListener", (test) => {
  test("has a server serve on another machine", () =>
    Effect.gen(function*() {
      const ssh = yield* sshServer()
      const below = Layer.succeed(Dialer, yield* Dialer)
      const Live = TcpServer.layer({ port: 0 }).pipe(
        Layer.provide(SshTunnel.layerListener(ssh.settings)),
        Layer.provide(below)
      )
      yield* Effect.gen(function*() {
        const server = yield* TcpServer.TcpServer
        yield* Effect.forkScoped(server.serve((connection) => Stream.run(connection.reads, connection.writes)))
        const client = yield* dialThere(server.address)
        client.end("ping")
        assert.strictEqual(String((yield* readAll(client)).bytes), "ping")
      }).pipe(Effect.provide(Live))
      assert.strictEqual(ssh.logins(), 1)
    }))

  test("cannot be built when the server cannot be reached or does not let us in", () =>
    Effect.gen(function*() {
      const ssh = yield* sshServer()
      const below = Layer.succeed(Dialer, yield* Dialer)
      const build = (settings: typeof ssh.settings) =>
        Effect.flip(Effect.scoped(Layer.build(SshTunnel.layerListener(settings).pipe(Layer.provide(below)))))
      assert.strictEqual((yield* build({ ...ssh.settings, auth: SshAuth.none })).reason._tag, "AuthenticationFailed")
      assert.strictEqual((yield* build({ ...ssh.settings, host: "nobody.invalid" })).reason._tag, "NameNotFound")
    }))
})

it.effect("SshTunnel.layerListener, kept as a value, goes over each of the paths that it is provided with", () =>
  Effect.gen(function*() {
    const listener = SshTunnel.layerListener({ host: "relay.test", username: "demo", auth: SshAuth.password(secret) })
    const asked: Array<string> = []
    const refused = new DialError({
      target: "relay.test:22",
      hop: "direct",
      reason: new Refused({ address: "relay.test" })
    })
    const over = (name: string) =>
      listener.pipe(
        Layer.provide(Layer.succeed(Dialer, {
          connectTimeout: Duration.seconds(1),
          dial: () => Effect.andThen(Effect.sync(() => asked.push(name)), Effect.fail(refused))
        })),
        Layer.catchCause(() => Layer.succeed(Listener, { bind: () => Effect.never }))
      )
    yield* Layer.build(Layer.mergeAll(over("left"), over("right")))
    assert.sameMembers(asked, ["left", "right"])
  }))

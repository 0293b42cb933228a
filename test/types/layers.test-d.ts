import { Effect, type Layer, type Scope, type Stream } from "effect"
import type { Dns } from "effect/net"
import {
  Dialer,
  type DialError,
  Framing,
  Grpc,
  Listener,
  Proxy,
  Ssh,
  type SshAuth,
  type SshError,
  SshTunnel,
  TcpClient,
  type TcpError,
  TcpServer,
  Tls,
  type TlsConfigError
} from "hawser"
import { TestNetwork } from "hawser/testing"
import { describe, expectTypeOf, it } from "vitest"

declare const auth: SshAuth.SshAuth
const settings = { host: "bastion", username: "ops", auth }

describe("layers", () => {
  it("path layers take a Dialer and give a Dialer", () => {
    expectTypeOf(Tls.layer()).toEqualTypeOf<
      Layer.Layer<Dialer.Dialer, TlsConfigError.TlsConfigError, Dialer.Dialer>
    >()
    expectTypeOf(Proxy.layer("socks5://127.0.0.1:1080")).toEqualTypeOf<
      Layer.Layer<Dialer.Dialer, never, Dialer.Dialer>
    >()
    expectTypeOf(SshTunnel.layer(settings)).toEqualTypeOf<
      Layer.Layer<Dialer.Dialer, DialError.DialError | SshError.SshError, Dialer.Dialer>
    >()
  })

  it("services need a network and nothing else", () => {
    expectTypeOf(TcpClient.layer).toEqualTypeOf<Layer.Layer<TcpClient.TcpClient, never, Dialer.Dialer>>()
    expectTypeOf(Ssh.layer).toEqualTypeOf<Layer.Layer<Ssh.Ssh, never, Dialer.Dialer>>()
    expectTypeOf(Grpc.layer).toEqualTypeOf<Layer.Layer<Grpc.Grpc, never, Dialer.Dialer>>()
    expectTypeOf(TcpServer.layer({ port: 0 })).toEqualTypeOf<
      Layer.Layer<TcpServer.TcpServer, TcpError.TcpError | TlsConfigError.TlsConfigError, Listener.Listener>
    >()
  })

  it("the operating system's network and the test network need nothing", () => {
    expectTypeOf(Dialer.layer).toEqualTypeOf<Layer.Layer<Dialer.Dialer>>()
    expectTypeOf(Listener.layer).toEqualTypeOf<Layer.Layer<Listener.Listener>>()
    expectTypeOf(TestNetwork.layer()).toEqualTypeOf<
      Layer.Layer<Dialer.Dialer | Dns.Dns | Listener.Listener | TestNetwork.TestNetwork>
    >()
  })

  it("a program without a network does not run", () => {
    const program = TcpClient.TcpClient.use((tcp) => tcp.requestString("db:1", "x")).pipe(
      Effect.provide(TcpClient.layer)
    )
    expectTypeOf<Effect.Services<typeof program>>().toEqualTypeOf<Dialer.Dialer>()
    expectTypeOf(program).not.toExtend<Parameters<typeof Effect.runFork>[0]>()
  })
})

describe("errors", () => {
  it("a call says all that can go wrong, and DialError stands beside the others", () => {
    const call = Ssh.Ssh.use((ssh) => ssh.execute(settings, "true"))
    expectTypeOf<Effect.Error<typeof call>>().toEqualTypeOf<DialError.DialError | SshError.SshError>()
    const connect = TcpClient.TcpClient.use((tcp) => tcp.connect("db:1"))
    expectTypeOf<Effect.Error<typeof connect>>().toEqualTypeOf<DialError.DialError | TlsConfigError.TlsConfigError>()
    expectTypeOf<Effect.Services<typeof connect>>().toEqualTypeOf<TcpClient.TcpClient | Scope.Scope>()
  })

  it("a single reason can be caught, with its fields", () => {
    const program = TcpClient.TcpClient.use((tcp) => tcp.requestString("db:1", "x")).pipe(
      Effect.catchReason("DialError", "TlsHandshake", (reason) => {
        expectTypeOf(reason.check).toEqualTypeOf<DialError.TlsCheck>()
        return Effect.succeed(reason.servername)
      }),
      Effect.catchReason("TcpError", "ReadTimeout", (reason) => Effect.succeed(String(reason.received)))
    )
    expectTypeOf<Effect.Success<typeof program>>().toEqualTypeOf<string>()
    expectTypeOf(() =>
      // @ts-expect-error there is no such reason
      program.pipe(Effect.catchReason("DialError", "NoSuchReason", () => Effect.void))
    ).toBeFunction()
  })
})

describe("connections", () => {
  it("frames have the type of their framing", () => {
    const lines = TcpClient.TcpClient.use((tcp) =>
      Effect.map(tcp.connect("db:1"), (connection) => connection.frames(Framing.lines()))
    )
    expectTypeOf<Effect.Success<typeof lines>>().toEqualTypeOf<Stream.Stream<string, TcpError.TcpError>>()
  })

  it("a handler's requirements are those of serve, but for the connection's scope", () => {
    const serve = TcpServer.TcpServer.use((server) =>
      server.serve(() => Effect.andThen(Effect.addFinalizer(() => Effect.void), Listener.Listener))
    )
    expectTypeOf<Effect.Services<typeof serve>>().toEqualTypeOf<TcpServer.TcpServer | Listener.Listener>()
  })
})

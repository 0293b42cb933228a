/**
 * All four services at work on this machine: TCP with TLS, SOCKS and HTTP proxies, SSH and gRPC, each over the path of its
 * choice, and what it looks like when something is wrong.
 *
 * Run it with `npm run demo`. It starts the peers that it talks to, all on 127.0.0.1, and exits with 0 only if everything
 * came out as expected.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Console, Duration, Effect, FileSystem, Layer, Redacted, Ref, Stream } from "effect"
import {
  Dialer,
  Grpc,
  GrpcSchema,
  GrpcServer,
  HostKeys,
  Listener,
  Proxy,
  Ssh,
  SshAuth,
  SshTunnel,
  TcpClient,
  Tls
} from "hawser"
import { TestCertificates, TestPeers } from "hawser/testing"
import { fileURLToPath } from "node:url"

// ---- the peers

const credentials = { username: "demo", password: "s3cret" }

/** Names that only the proxies know: whoever reaches `echo.internal` came through one of them. */
const internalNames = (name: string) => name.endsWith(".internal") ? "127.0.0.1" : name

const schema = GrpcSchema.fromFile(fileURLToPath(new URL("protos/greeter.proto", import.meta.url)))

const greeter = GrpcServer.partial(schema, "greeter.v1.Greeter", {
  SayHello: GrpcServer.unary(({ name }) => Effect.succeed({ greeting: `Hello ${String(name)}` })),
  SayHellos: GrpcServer.serverStream(({ count, name }) =>
    Stream.range(1, Number(count)).pipe(
      Stream.map((number) => ({ greeting: `Hello ${String(name)}`, number: BigInt(number) }))
    )
  )
})

const sayHello = "echo hello from the other side"

const startPeers = Effect.gen(function*() {
  const authority = yield* TestCertificates.authority()
  const certificate = yield* authority.issue({ names: ["echo.internal", "localhost", "127.0.0.1"] })
  const proxy = {
    username: credentials.username,
    password: Redacted.make(credentials.password),
    resolve: internalNames
  }
  return {
    ca: authority.certificate,
    echo: yield* TestPeers.echo({ tls: certificate }),
    socks: yield* TestPeers.socks5(proxy),
    http: yield* TestPeers.httpProxy(proxy),
    ssh: yield* TestPeers.sshServer({
      username: credentials.username,
      password: Redacted.make(credentials.password),
      exec: { [sayHello]: "hello from the other side\n" },
      forwarding: true
    }),
    grpc: yield* TestPeers.grpcServer({ services: [greeter] })
  }
}).pipe(Effect.provide(Layer.merge(Dialer.layer, Listener.layer)))

type Peers = Effect.Success<typeof startPeers>

const portOf = ({ address }: TestPeers.Peer) => address._tag === "UnixPathAddress" ? 0 : address.port

// ---- the paths

const password = Redacted.make(credentials.password)
const proxyAt = (protocol: "socks5" | "http", proxy: TestPeers.Peer, secret = password) =>
  Proxy.layer({
    protocol,
    host: "127.0.0.1",
    port: portOf(proxy),
    username: credentials.username,
    password: secret
  })

const throughSocks = (peers: Peers, secret = password) =>
  proxyAt("socks5", peers.socks, secret).pipe(Layer.provide(Dialer.layer))

const throughHttp = (peers: Peers) => proxyAt("http", peers.http).pipe(Layer.provide(Dialer.layer))

const sshSettings = (peers: Peers, hostKeys: HostKeys.HostKeys) => ({
  host: "bastion.internal",
  port: portOf(peers.ssh),
  username: credentials.username,
  auth: SshAuth.password(password),
  hostKeys
})

/** An SSH session through the HTTP proxy carries what is dialled here. */
const throughTunnel = (peers: Peers) =>
  SshTunnel.layer(sshSettings(peers, HostKeys.fingerprint(peers.ssh.fingerprint))).pipe(
    Layer.provide(throughHttp(peers))
  )

// ---- what the demo does

const askEcho = (
  peers: Peers,
  text: string,
  options: { readonly ca?: string; readonly secret?: Redacted.Redacted } = {}
) =>
  TcpClient.TcpClient.use((tcp) => tcp.requestString(`echo.internal:${portOf(peers.echo)}`, `${text}\n`)).pipe(
    Effect.provide(TcpClient.layer.pipe(
      Layer.provide(Tls.layer({ ca: options.ca ?? peers.ca })),
      Layer.provide(throughSocks(peers, options.secret))
    ))
  )

const tenClients = (peers: Peers) =>
  Effect.gen(function*() {
    const tcp = yield* TcpClient.TcpClient
    const answers = yield* Effect.forEach(
      Array.from({ length: 10 }, (_, i) => `client ${i}`),
      (text) => tcp.requestString(peers.echo.address, `${text}\n`),
      { concurrency: 10 }
    )
    return `${new Set(answers).size} different answers`
  }).pipe(
    Effect.provide(TcpClient.layer.pipe(
      Layer.provide(Tls.layer({ ca: peers.ca })),
      Layer.provide(Dialer.layer)
    ))
  )

const runCommand = (peers: Peers, hostKeys: HostKeys.HostKeys) =>
  Ssh.Ssh.use((ssh) => ssh.execute(sshSettings(peers, hostKeys), sayHello)).pipe(
    Effect.map((result) => result.text.trim()),
    Effect.provide(Ssh.layer.pipe(Layer.provide(throughHttp(peers))))
  )

const withGreeter = <A, E>(
  peers: Peers,
  use: (channel: Effect.Success<ReturnType<Grpc.Grpc["Service"]["connect"]>>) => Effect.Effect<A, E>
) =>
  Effect.gen(function*() {
    const grpc = yield* Grpc.Grpc
    const channel = yield* grpc.connect({ url: peers.grpc.url, schema })
    return yield* use(channel)
  }).pipe(
    Effect.scoped,
    Effect.provide(Grpc.layer.pipe(Layer.provide(throughTunnel(peers))))
  )

const greet = (peers: Peers) =>
  withGreeter(peers, (channel) =>
    Effect.map(
      channel.unary("greeter.v1.Greeter/SayHello", { name: "Hawser" }),
      (reply) => String(reply["greeting"])
    ))

const greetThousandTimes = (peers: Peers) =>
  withGreeter(
    peers,
    (channel) =>
      channel.serverStream("greeter.v1.Greeter/SayHellos", { name: "Hawser", count: 1000n }).pipe(
        Stream.runCount,
        Effect.map((count) => `${count} greetings`)
      )
  )

const callMissingMethod = (peers: Peers) =>
  withGreeter(peers, (channel) => channel.unary("greeter.v1.Greeter/NotThere", { name: "Hawser" }))

/** A known_hosts file that knows the server by another key. */
const changedHostKey = Effect.fnUntraced(function*(peers: Peers) {
  const fs = yield* FileSystem.FileSystem
  const file = yield* fs.makeTempFileScoped()
  const other = yield* TestPeers.sshKeyPair()
  yield* fs.writeFileString(file, `[bastion.internal]:${portOf(peers.ssh)} ${other.public}\n`)
  return yield* runCommand(peers, HostKeys.knownHosts({ files: [file] }))
})

// ---- the show

const program = Effect.gen(function*() {
  const unexpected = yield* Ref.make(0)

  const line = Effect.fnUntraced(
    function*<R>(name: string, outcome: Effect.Effect<readonly [boolean, string], never, R>) {
      const [duration, [good, detail]] = yield* Effect.timed(outcome)
      if (!good) yield* Ref.update(unexpected, (count) => count + 1)
      const time = `${Math.round(Duration.toMillis(duration))} ms`
      yield* Console.log(`${good ? "ok " : "NOT"} ${name.padEnd(48)} ${time.padStart(8)}   ${detail}`)
    }
  )

  const works = <E extends { readonly message: string }, R>(
    name: string,
    expected: string,
    effect: Effect.Effect<string, E, R>
  ) =>
    line(
      name,
      Effect.match(effect, {
        onSuccess: (answer) => [answer.trim() === expected, answer.trim()] as const,
        onFailure: (error) => [false, error.message] as const
      })
    )

  const fails = <A, E extends { readonly _tag: string; readonly message: string }, R>(
    name: string,
    expected: string,
    effect: Effect.Effect<A, E, R>
  ) =>
    line(
      name,
      Effect.match(effect, {
        onSuccess: () => [false, "it worked, and should not have"] as const,
        onFailure: (error) => {
          const tag = hasReason(error) ? `${error._tag}/${error.reason._tag}` : error._tag
          return [tag === expected, `${tag}: ${error.message}`] as const
        }
      })
    )

  const peers = yield* startPeers
  const otherAuthority = yield* TestCertificates.authority()

  yield* Console.log("\nWhat works:")
  yield* works("TCP request over TLS through SOCKS5", "ping", askEcho(peers, "ping"))
  yield* works("ten clients of the TLS server at once", "10 different answers", tenClients(peers))
  yield* works(
    "SSH command through the HTTP proxy",
    "hello from the other side",
    runCommand(peers, HostKeys.fingerprint(peers.ssh.fingerprint))
  )
  yield* works("gRPC call through the SSH tunnel", "Hello Hawser", greet(peers))
  yield* works("gRPC server stream through the SSH tunnel", "1000 greetings", greetThousandTimes(peers))

  yield* Console.log("\nWhat fails on purpose, and how it says so:")
  yield* fails(
    "TLS: a certificate from an unknown authority",
    "DialError/TlsHandshake",
    askEcho(peers, "ping", { ca: otherAuthority.certificate })
  )
  yield* fails(
    "SOCKS5: a wrong password",
    "DialError/ProxyAuthentication",
    askEcho(peers, "ping", { secret: Redacted.make("wr0ng") })
  )
  yield* fails("SSH: a changed host key", "SshError/HostKeyRejected", changedHostKey(peers))
  yield* fails("gRPC: a method that is not there", "GrpcError/Unimplemented", callMissingMethod(peers))

  const count = yield* Ref.get(unexpected)
  yield* Console.log(count === 0 ? "\nEverything came out as expected." : `\n${count} did not come out as expected.`)
  yield* count === 0 ? Effect.void : Effect.die(new Error("the demo did not come out as expected"))
})

const hasReason = (error: object): error is { readonly reason: { readonly _tag: string } } => "reason" in error

program.pipe(Effect.scoped, Effect.provide(NodeServices.layer), NodeRuntime.runMain)

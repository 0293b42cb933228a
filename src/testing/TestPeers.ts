/**
 * Peers to test programs with: servers that a program's clients can talk to, each one line to start.
 *
 * A peer listens through the `Listener` that is there, so it is part of a test network, or of this machine on loopback. It
 * lives as long as the scope, and tells a test what it has seen.
 *
 * **Details**
 *
 * - `echo` sends back what it gets.
 * - `scripted` goes through a script of `expect` and `reply` with each client, and says at which step a client did something
 *   else.
 * - `socks5` and `httpProxy` are proxies that list what they were asked for.
 * - `sshServer` runs commands that are effects, and serves files in memory by SFTP.
 * - `grpcServer` is a `GrpcServer` that lists its calls; `inTurn` makes handlers of prepared answers.
 * - What goes wrong on one connection, a bad request or a reset, ends that connection and nothing else.
 * - When the scope closes, a peer stops listening and closes its connections at once.
 * - To have a peer on a host of a `TestNetwork`, provide it the host's `layer`, from which a proxy also dials on. With
 *   `host.start(TestPeers.echo({ address: "db:5432" }))` it ends when the host crashes and is there again with it.
 *
 * **Example** (A client behind a proxy, all in memory)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { Proxy, TcpClient } from "hawser"
 * import { TestNetwork, TestPeers } from "hawser/testing"
 *
 * const test = Effect.gen(function*() {
 *   yield* TestPeers.echo({ address: "db:5432" })
 *   const proxy = yield* TestPeers.socks5()
 *   const answer = yield* TcpClient.TcpClient.use((tcp) => tcp.requestString("db:5432", "ping\n")).pipe(
 *     Effect.provide(TcpClient.layer.pipe(Layer.provide(Proxy.layer(proxy.url))))
 *   )
 *   return [answer, yield* proxy.requests] // ["ping\n", [{ target: "db:5432", outcome: "granted", code: 0 }]]
 * }).pipe(Effect.scoped, Effect.provide(TestNetwork.layer()))
 * ```
 *
 * @since 0.1.0
 */
export { echo, type EchoPeer } from "./peers/echo.ts"
export { type GrpcPeer, type GrpcPeerCall, grpcServer, type GrpcServerOptions, inTurn } from "./peers/grpcServer.ts"
export { httpProxy } from "./peers/httpProxy.ts"
export type { Peer, PeerOptions } from "./peers/peer.ts"
export type { ProxyPeer, ProxyPeerOptions, ProxyRequest } from "./peers/proxy.ts"
export {
  type Answer,
  end,
  expect,
  expectEnd,
  type ExpectOptions,
  reply,
  reset,
  run,
  type Step
} from "./peers/script.ts"
export {
  scripted,
  type ScriptedOptions,
  type ScriptedPeer,
  ScriptError,
  type TranscriptEntry
} from "./peers/scripted.ts"
export { socks5, type Socks5Options } from "./peers/socks5.ts"
export { type SshFile, type SshFileInfo, type SshFiles, sshFiles } from "./peers/sshFiles.ts"
export {
  type SshAnswer,
  type SshCommand,
  type SshCommandRecord,
  type SshCommands,
  type SshHandler,
  type SshKeyPair,
  sshKeyPair,
  type SshLogin,
  type SshQuestions,
  sshServer,
  type SshServerOptions,
  type SshServerPeer
} from "./peers/sshServer.ts"

import { Layer } from "effect"
import { Dialer, Grpc, Proxy, Ssh, type SshAuth, SshTunnel, TcpClient } from "hawser"

declare const auth: SshAuth.SshAuth

// TCP, SSH and gRPC, all through one SSH bastion behind a SOCKS proxy
const Network = SshTunnel.layer({ host: "bastion", username: "ops", auth }).pipe(
  Layer.provide(Proxy.layer("socks5://127.0.0.1:1080")),
  Layer.provide(Dialer.layer)
)
export const Live = Layer.mergeAll(TcpClient.layer, Ssh.layer, Grpc.layer).pipe(Layer.provide(Network))

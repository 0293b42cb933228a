/**
 * TCP, TLS, proxies, SSH and gRPC as Effect services over one Dialer.
 *
 * @since 0.1.0
 */

/** An open connection: reads that lose nothing, writes with backpressure. */
export * as Connection from "./services/Connection.ts"

/** A log of what connections do. */
export * as ConnectionLog from "./services/ConnectionLog.ts"

/** What can go wrong on the way to a peer. */
export * as DialError from "./errors/DialError.ts"

/** The one way out: the operating system's network, and how layers stack on it. */
export * as Dialer from "./services/Dialer.ts"

/** How a stream of bytes is a sequence of frames. */
export * as Framing from "./services/Framing.ts"

/** gRPC channels over any Dialer. */
export * as Grpc from "./services/Grpc.ts"

/** An open gRPC channel: calls by name. */
export * as GrpcChannel from "./services/GrpcChannel.ts"

/** Typed gRPC clients: methods as functions that give Effects and Streams. */
export * as GrpcClient from "./services/GrpcClient.ts"

/** What a server can say about an error beside its status. */
export * as GrpcDetail from "./errors/GrpcDetail.ts"

/** What can go wrong in a gRPC call. */
export * as GrpcError from "./errors/GrpcError.ts"

/** Schedules for retrying gRPC calls. */
export * as GrpcRetry from "./services/GrpcRetry.ts"

/** What a gRPC server offers, from .proto files and other sources. */
export * as GrpcSchema from "./services/GrpcSchema.ts"

/** What can be wrong with a schema, or with a request for it. */
export * as GrpcSchemaError from "./errors/GrpcSchemaError.ts"

/** gRPC servers over any Listener. */
export * as GrpcServer from "./services/GrpcServer.ts"

/** gRPC services whose messages are described with Effect schemas. */
export * as GrpcService from "./services/GrpcService.ts"

/** Timeouts, retries and hedging of gRPC calls, by method. */
export * as GrpcServiceConfig from "./services/GrpcServiceConfig.ts"

/** How an SSH server proves who it is. */
export * as HostKeys from "./services/HostKeys.ts"

/** Connections in reserve, as a Dialer layer. */
export * as KeepWarm from "./layers/KeepWarm.ts"

/** The one way in. */
export * as Listener from "./services/Listener.ts"

/** All connections of a TCP server as one mailbox. */
export * as Mailbox from "./services/Mailbox.ts"

/** Retries, limits and circuit breakers as a Dialer layer. */
export * as Policy from "./layers/Policy.ts"

/** SOCKS and HTTP proxies as Dialer layers. */
export * as Proxy from "./layers/Proxy.ts"

/** Commands whose input and output are the connection, as a Dialer layer. */
export * as ProxyCommand from "./layers/ProxyCommand.ts"

/** The PROXY protocol: telling a server who the client behind a relay is. */
export * as ProxyProtocol from "./layers/ProxyProtocol.ts"

/** The files of a server, over SSH. */
export * as Sftp from "./services/Sftp.ts"

/** Effect's FileSystem on another machine. */
export * as SftpFileSystem from "./layers/SftpFileSystem.ts"

/** SSH connections over any Dialer. */
export * as Ssh from "./services/Ssh.ts"

/** Agents that hold private keys and sign with them. */
export * as SshAgent from "./services/SshAgent.ts"

/** How an SSH user proves who it is. */
export * as SshAuth from "./services/SshAuth.ts"

/** What can go wrong with SSH. */
export * as SshError from "./errors/SshError.ts"

/** Port forwarding over SSH. */
export * as SshForward from "./services/SshForward.ts"

/** Effect's ChildProcessSpawner on another machine. */
export * as SshProcessSpawner from "./layers/SshProcessSpawner.ts"

/** Programs on another machine: commands, shells and subsystems. */
export * as SshProcess from "./services/SshProcess.ts"

/** An open SSH connection: commands and tunnels. */
export * as SshSession from "./services/SshSession.ts"

/** Which SSH server, as whom, over which way, and how to know that it is the right one. */
export * as SshSettings from "./services/SshSettings.ts"

/** Copying files and folders over SSH. */
export * as SshTransfer from "./services/SshTransfer.ts"

/** An SSH jump host as a Dialer layer. */
export * as SshTunnel from "./layers/SshTunnel.ts"

/** TCP clients over any Dialer. */
export * as TcpClient from "./services/TcpClient.ts"

/** What can go wrong on an open connection or a listener. */
export * as TcpError from "./errors/TcpError.ts"

/** TCP servers over any Listener. */
export * as TcpServer from "./services/TcpServer.ts"

/** TLS as a Dialer layer. */
export * as Tls from "./layers/Tls.ts"

/** TLS options that cannot be used. */
export * as TlsConfigError from "./errors/TlsConfigError.ts"

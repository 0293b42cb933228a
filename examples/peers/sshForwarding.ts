/** What the small SSH server forwards: to this machine for its clients, and from this machine to its clients. */
import { createRequire } from "node:module"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import type { Connection, ServerChannel } from "ssh2"

/** How the server answers clients that want it to listen for them; `forbidden` says why, as OpenSSH does. */
export type RemoteForwarding = "served" | "refused" | "forbidden" | "unanswered"

const { sendPacket } = createRequire(import.meta.url)("ssh2/lib/protocol/utils.js")

/** Says something for people to read (SSH_MSG_DEBUG), for which ssh2's servers have no way. */
const say = ({ _protocol: protocol }: any, words: string): void => {
  const { write } = protocol._packetRW
  const text = Buffer.from(words)
  const packet: Buffer = write.alloc(1 + 1 + 4 + text.length + 4)
  const start: number = write.allocStart
  packet[start] = 4
  packet[start + 1] = 0
  packet.writeUInt32BE(text.length, start + 2)
  packet.set(text, start + 6)
  packet.writeUInt32BE(0, start + 6 + text.length)
  sendPacket(protocol, write.finalize(packet))
}

const isThisMachine = (host: string) => host === "127.0.0.1" || host === "localhost"

/**
 * Joins a socket and a channel. ssh2's servers close a channel with its output, which would cut half-close short: this says
 * the end only.
 */
const join = (socket: Net.Socket, channel: Duplex & { readonly eof: () => void; readonly close: () => void }): void => {
  let ended = 0
  const end = () => {
    if (++ended === 2) channel.end()
  }
  socket.on("error", () => channel.close()).on("end", () => {
    // behind what was written
    channel.write("", () => {
      channel.eof()
      end()
    })
  })
  channel.on("error", () => {}).on("end", end).on("close", () => socket.destroy())
  socket.pipe(channel, { end: false })
  channel.pipe(socket)
}

const connect = (target: Net.NetConnectOpts, accept: () => ServerChannel, reject: () => void): void => {
  const socket = Net.connect({ ...target, allowHalfOpen: true })
  socket.once("error", reject)
  socket.once("connect", () => join(socket.off("error", reject), accept()))
}

/** Connects to this machine for a client. To `stalled.test` it never does. */
const serveDials = (client: Connection): void => {
  client.on("tcpip", (accept, reject, { destIP, destPort }) => {
    if (destIP === "stalled.test") return
    if (!isThisMachine(destIP)) return reject()
    connect({ host: "127.0.0.1", port: destPort }, accept, reject)
  })
  client.on("openssh.streamlocal", (accept, reject, { socketPath }) => connect({ path: socketPath }, accept, reject))
}

const portOf = (listener: Net.Server): number => {
  const address = listener.address()
  return typeof address === "object" && address !== null ? address.port : 0
}

/** Listens on this machine's loopback for a client, for as long as that is there. */
const serveListeners = (client: Connection, remoteForwarding: RemoteForwarding): void => {
  const listeners = new Map<string, Net.Server>()

  const open = (
    socket: Net.Socket,
    request: (done: (error: Error | undefined, channel: ServerChannel) => void) => void
  ) => {
    socket.on("error", () => {})
    request((error, channel) => {
      if (error !== undefined) socket.destroy()
      else join(socket.resume(), channel)
    })
  }

  client.on("request", (accept, reject, name, info) => {
    if (remoteForwarding === "forbidden") say(client, "Server has disabled port forwarding.")
    if (remoteForwarding === "refused" || remoteForwarding === "forbidden") return reject?.()
    if (remoteForwarding === "unanswered") return
    const isCancel = name.startsWith("cancel-")
    const tcp = "bindAddr" in info ? info : undefined
    const path = "socketPath" in info ? String(info.socketPath) : ""
    const key = tcp === undefined ? path : `${tcp.bindAddr}:${tcp.bindPort}`
    if (isCancel) {
      const listener = listeners.get(key)
      if (listener === undefined) return reject?.()
      listeners.delete(key)
      // the last connection would hold up the answer
      listener.close()
      return accept?.()
    }
    const listener = Net.createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true })
    listener.once("error", () => reject?.())
    const listening = () => {
      const port = portOf(listener)
      listeners.set(tcp === undefined ? path : `${tcp.bindAddr}:${port}`, listener)
      listener.on("connection", (socket: Net.Socket) => {
        const { remoteAddress = "", remotePort = 0 } = socket
        open(socket, (done) =>
          tcp === undefined
            ? client.openssh_forwardOutStreamLocal(path, done)
            : client.forwardOut(tcp.bindAddr, port, remoteAddress, remotePort, done))
      })
      accept?.(port)
    }
    if (tcp === undefined) listener.listen(path, listening)
    else listener.listen(tcp.bindPort, "127.0.0.1", listening)
  })
  client.once("close", () => {
    for (const listener of listeners.values()) listener.close()
  })
}

/** Connects to a client's agent. ssh2's servers know how to say it, and have no way to ask for it. */
export const openAgent = (client: any, done: (error: Error | undefined, channel: ServerChannel) => void): void => {
  const opened = Object.assign(
    (error: Error | undefined, channel: ServerChannel) => done(error, channel),
    { type: "auth-agent@openssh.com" }
  )
  client._protocol.openssh_authAgent(client._chanMgr.add(opened), 2 * 1024 * 1024, 32 * 1024)
}

/** Forwards for a client. */
export const serveForwarding = (client: Connection, remoteForwarding: RemoteForwarding): void => {
  serveDials(client)
  serveListeners(client, remoteForwarding)
}

import * as Effect from "effect/Effect"
import * as Host from "effect/net/Host"
import * as NetAddress from "effect/net/NetAddress"
import * as Result from "effect/Result"
import { type DialErrorReason, NameNotFound, Refused, Unreachable } from "../../errors/DialError.ts"
import { AddressInUse, TcpError } from "../../errors/TcpError.ts"
import * as Target from "../net/target.ts"
import { Waiting } from "../net/waiting.ts"
import { MemoryDuplex, type PairOptions } from "./duplex.ts"

/** The dialling side, as hosts other than its own see it. */
const clientAddress = "10.0.0.1"

/** IANA's range for ports that nobody asked for by number. */
const firstEphemeralPort = 49152

/** A connection, in both its ends. */
interface Link {
  /** What was dialled. */
  readonly target: string
  /** The address, or the socket path, that answered. */
  readonly host: string
  readonly client: MemoryDuplex
  readonly server: MemoryDuplex
}

const isLoopback = (address: string) =>
  Result.match(NetAddress.ipFromString(address), { onFailure: () => false, onSuccess: NetAddress.isLoopback })

/** Names in lower case, addresses in their shortest form; what is neither (a socket path) as it is. */
const normalize = (host: string) =>
  Result.match(Host.hostFromString(host), { onFailure: () => host, onSuccess: Host.formatHost })

const place = (address: string, port: number) => address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`

/** Hosts, the ports that are listened on, and the connections between them. */
export class MemoryNetwork {
  private readonly addresses = new Map([["localhost", "127.0.0.1"]])
  private readonly listeners = new Map<string, Waiting>()
  private readonly links = new Set<Link>()
  /** How many addresses of 10.0.0.0/16 are given away: the network's own and the client's. */
  private hosts = 2
  private ephemeralPort = firstEphemeralPort

  private readonly options: PairOptions
  constructor(options: PairOptions) {
    this.options = options
  }

  /** Makes a host known, and gives its address. */
  addHost(input: string): string {
    const host = normalize(input)
    const known = this.addresses.get(host)
    if (known !== undefined) return known
    const address = Result.isSuccess(NetAddress.ipFromString(host)) ? host : this.freeAddress()
    this.addresses.set(host, address).set(address, address)
    return address
  }

  /** Listens until `close` of what comes back is called. */
  readonly listen = (target: Target.Target, pending: number) =>
    Effect.suspend(() => {
      const inet = Host.isHostPort(target)
      const address = inet ? this.addHost(Host.formatHost(target.host)) : target.path
      const port = inet && target.port === 0 ? this.freePort(address) : inet ? target.port : 0
      const key = inet ? place(address, port) : address
      if (this.listeners.has(key)) {
        return Effect.fail(new TcpError({ reason: new AddressInUse({ address: Target.format(target) }) }))
      }
      const waiting = new Waiting(pending)
      this.listeners.set(key, waiting)
      return Effect.succeed({
        address: inet
          ? NetAddress.inetAddressFromNativeUnsafe(address, port)
          : NetAddress.unixPathAddress(address),
        accept: waiting.accept,
        receive: waiting.receive,
        close: () => {
          this.listeners.delete(key)
          waiting.close()
        }
      })
    })

  /** Connects and gives the client's end. */
  readonly connect = (target: Target.Target): Effect.Effect<MemoryDuplex, DialErrorReason> =>
    Effect.suspend((): Effect.Effect<MemoryDuplex, DialErrorReason> => {
      if (!Host.isHostPort(target)) {
        const waiting = this.listeners.get(target.path)
        return waiting === undefined
          ? Effect.fail(new Refused({ address: target.path }))
          : Effect.succeed(this.link(target, target.path, waiting))
      }
      const { port } = target
      const host = Host.formatHost(target.host)
      const local = isLoopback(host)
      const address = local ? host : this.addresses.get(host)
      if (address === undefined) {
        return Effect.fail(
          NetAddress.isIpAddress(target.host)
            ? new Unreachable({ address: place(host, port), code: "EHOSTUNREACH" })
            : new NameNotFound({ name: host, code: "ENOTFOUND" })
        )
      }
      const waiting = this.listenerAt(address, port)
      return waiting === undefined
        ? Effect.fail(new Refused({ address: place(address, port) }))
        : Effect.succeed(this.link(target, address, waiting))
    })

  /** Breaks every connection to a host, and says how many. */
  reset(host: string): number {
    const name = normalize(host)
    const address = this.addresses.get(name) ?? name
    const broken = this.openLinks().filter((link) => link.host === address)
    for (const { client, server } of broken) {
      client.reset()
      server.reset()
    }
    return broken.length
  }

  /** The connections of which at least one end is open. */
  openLinks(): ReadonlyArray<Link> {
    return [...this.links].filter(({ client, server }) => !client.destroyed || !server.destroyed)
  }

  close(): void {
    for (const waiting of this.listeners.values()) waiting.close()
    this.listeners.clear()
    for (const { client, server } of this.links) {
      client.destroy()
      server.destroy()
    }
  }

  private listenerAt(address: string, port: number): Waiting | undefined {
    const candidates = isLoopback(address) ? [address, "0.0.0.0", "::"] : [address]
    return candidates.map((candidate) => this.listeners.get(place(candidate, port))).find((found) =>
      found !== undefined
    )
  }

  private link(target: Target.Target, host: string, waiting: Waiting): MemoryDuplex {
    const [client, server] = Host.isHostPort(target)
      ? MemoryDuplex.pair(
        this.options,
        { address: isLoopback(host) ? host : clientAddress, port: this.nextPort() },
        { address: host, port: target.port }
      )
      : MemoryDuplex.pair(this.options)
    const link = { target: Target.format(target), host, client, server }
    this.links.add(link)
    const forget = () => {
      if (client.destroyed && server.destroyed) this.links.delete(link)
    }
    client.once("close", forget)
    server.once("close", forget)
    waiting.offer(server)
    return client
  }

  private freeAddress(): string {
    const address = `10.0.${this.hosts >> 8}.${this.hosts & 0xff}`
    this.hosts++
    return this.addresses.has(address) ? this.freeAddress() : address
  }

  private nextPort(): number {
    const port = this.ephemeralPort
    this.ephemeralPort = port === 65535 ? firstEphemeralPort : port + 1
    return port
  }

  private freePort(address: string): number {
    let port = this.nextPort()
    while (this.listeners.has(place(address, port))) port = this.nextPort()
    return port
  }
}

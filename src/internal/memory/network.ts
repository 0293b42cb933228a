import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as NetHost from "effect/net/Host"
import * as NetAddress from "effect/net/NetAddress"
import { type DialErrorReason, NameNotFound } from "../../errors/DialError.ts"
import { AddressInUse, TcpError, Unknown } from "../../errors/TcpError.ts"
import { connectFirst } from "../net/happyEyeballs.ts"
import * as Target from "../net/target.ts"
import { Waiting } from "../net/waiting.ts"
import type { Activity } from "./activity.ts"
import type { MemoryDuplex } from "./duplex.ts"
import { EventLog, type NetworkEvent } from "./eventLog.ts"
import { between, type Crosses, type HostNames, Separations } from "./groups.ts"
import { handshake, unreachable } from "./handshake.ts"
import { type Host, Hosts, isAddress, isLoopback, isUnspecified, normalize, place } from "./hosts.ts"
import type { Link, LinkOptions } from "./link.ts"
import { Links } from "./links.ts"
import type { Surroundings } from "./networkRoad.ts"
import { type NetworkRule, Rules } from "./rules.ts"
import { systemError } from "./systemError.ts"
import type { Timeline } from "./timeline.ts"

/** A connection, in both its ends. */
export interface Connection {
  /** Counted from 1, dials that failed included. */
  readonly number: number
  /** What was dialled. */
  readonly target: string
  readonly from: Host
  readonly to: Host
  /** The address, or the socket path, that answered. */
  readonly address: string
  readonly client: MemoryDuplex
  readonly server: MemoryDuplex
  /** Who has accepted it. */
  readonly listener: Waiting
}

/** Who dials when nobody says who does. */
const clientName = "client"

/** An address by which every host reaches itself; systems take the unspecified one as the loopback. */
const isOwn = (address: string) => isLoopback(address) || isUnspecified(address)

/** RFC 8305, as the operating system's network has it. */
const attemptDelay = Duration.millis(250)

/** Hosts, the ports that are listened on, the connections between them, and what happens on the way. */
export class MemoryNetwork implements Surroundings {
  readonly hosts = new Hosts()
  readonly client: Host
  readonly rules: Rules
  private readonly partitions = new Separations({ _tag: "Drop" })
  private readonly holds = new Separations({ _tag: "Hold" })
  private readonly links: Links
  private readonly connections = new Set<Connection>()
  private readonly stuck = new Set<{ readonly changed: () => void }>()
  private numbers = 0
  version = 0

  readonly timeline: Timeline
  readonly random: () => number
  private readonly activity: Activity
  private readonly log: EventLog
  constructor(
    timeline: Timeline,
    activity: Activity,
    random: () => number,
    options: { readonly defaults: LinkOptions; readonly events: number }
  ) {
    this.timeline = timeline
    this.activity = activity
    this.random = random
    this.links = new Links(options.defaults)
    this.log = new EventLog(options.events)
    this.rules = new Rules(random)
    this.client = this.hosts.add(clientName)
  }

  get events(): ReadonlyArray<NetworkEvent> {
    return this.log.last
  }

  happened(event: Omit<NetworkEvent, "at">): void {
    this.activity.note()
    this.log.add({ at: this.timeline.now(), ...event })
  }

  /** The connections of which at least one end is open, oldest first. */
  openConnections(): ReadonlyArray<Connection> {
    return [...this.connections].filter(({ client, server }) => !client.destroyed || !server.destroyed)
  }

  /**
   * The connections of which an end is open although what it belongs to, the scope of its dial or the listener, is closed:
   * those that are still open with a scope that lives longer than the network are no leaks.
   */
  leaks(): ReadonlyArray<Connection> {
    return this.openConnections().filter(({ client, listener, server }) =>
      (!client.destroyed && client.scope?.state._tag === "Closed") || (!server.destroyed && listener.isClosed)
    )
  }

  // --- listening

  /** Listens on a host, or where no host is given on whichever is named, until `close` of what comes back is called. */
  readonly listen = (on: Host | undefined, target: Target.Target, pending: number) =>
    Effect.suspend(() => {
      const shown = Target.format(target)
      const inet = NetHost.isHostPort(target)
      const host = inet ? this.hostToListenOn(on, NetHost.formatHost(target.host)) : on ?? this.client
      if (host === undefined || !host.isUp) {
        const cause = systemError("listen", host === undefined ? "EADDRNOTAVAIL" : "ENETDOWN", shown)
        return Effect.fail(
          new TcpError({ reason: new Unknown({ detail: `cannot listen on ${shown}: ${cause.message}`, cause }) })
        )
      }
      const address = inet ? this.addressToListenOn(host, NetHost.formatHost(target.host)) : target.path
      const port = inet && target.port === 0 ? host.freePort(address) : inet ? target.port : 0
      const waiting = new Waiting(pending)
      const bound = inet ? host.listen(address, port, waiting) : host.listenOn(address, waiting)
      if (!bound) {
        const cause = systemError("listen", "EADDRINUSE", shown)
        return Effect.fail(new TcpError({ reason: new AddressInUse({ address: shown, cause }) }))
      }
      const key = inet ? place(address, port) : address
      this.happened({ what: "listen", from: host.name, port })
      return Effect.succeed({
        address: inet
          ? NetAddress.inetAddressFromNativeUnsafe(address, port)
          : NetAddress.unixPathAddress(address),
        accept: waiting.accept,
        receive: waiting.receive,
        close: () => {
          this.happened({ what: "unlisten", from: host.name, port })
          host.stopListening(key, waiting)
        }
      })
    })

  private hostToListenOn(on: Host | undefined, input: string): Host | undefined {
    const name = normalize(input)
    if (on === undefined) {
      return name === "localhost" || this.client.has(name) ? this.client : this.hosts.add(name)
    }
    return name === "localhost" || name === on.name || on.has(name) ? on : undefined
  }

  private addressToListenOn(host: Host, input: string): string {
    const name = normalize(input)
    return name === "localhost" ? "127.0.0.1" : isAddress(name) ? name : host.addresses[0] ?? name
  }

  // --- dialling

  /** Connects from a host and gives the client's end. */
  readonly connect = (from: Host, target: Target.Target): Effect.Effect<MemoryDuplex, DialErrorReason> =>
    Effect.suspend((): Effect.Effect<MemoryDuplex, DialErrorReason> => {
      this.activity.note()
      if (!NetHost.isHostPort(target)) return this.attempt(from, from, target, target.path)
      const { port } = target
      const name = Target.hostOf(target)
      const to = (address: string): Effect.Effect<MemoryDuplex, DialErrorReason> => {
        const host = isOwn(address) ? from : this.hosts.find(address)
        return host === undefined
          ? Effect.fail(unreachable("EHOSTUNREACH", place(address, port)))
          : this.attempt(from, host, target, address)
      }
      if (NetAddress.isIpAddress(target.host)) return to(normalize(name))
      if (name === "localhost") return to("127.0.0.1")
      const lookup = this.hosts.lookup(name)
      if (lookup._tag !== "Found") {
        const code = lookup._tag === "NotFound" ? "ENOTFOUND" : "EAI_AGAIN"
        return Effect.fail(new NameNotFound({ name, code, cause: systemError("getaddrinfo", code, name) }))
      }
      const [first, ...more] = lookup.addresses
      if (first !== undefined && more.length === 0) return to(first)
      return connectFirst({
        lookups: [Effect.succeed(lookup.addresses.map((host) => ({ host, port })))],
        connect: ({ host }) => to(host),
        discard: (duplex) => void duplex.destroy(),
        attemptDelay,
        resolutionDelay: Duration.zero
      })
    })

  private attempt(
    from: Host,
    to: Host,
    target: Target.Target,
    address: string
  ): Effect.Effect<MemoryDuplex, DialErrorReason> {
    return Effect.suspend(() => {
      const number = ++this.numbers
      const port = NetHost.isHostPort(target) ? target.port : undefined
      return handshake(
        this,
        { number, from, to, address, port },
        (client, server, listener) =>
          this.remember({ number, target: Target.format(target), from, to, address, client, server, listener })
      )
    })
  }

  private remember(connection: Connection): void {
    this.connections.add(connection)
    for (const [end, host] of [[connection.client, connection.from], [connection.server, connection.to]] as const) {
      end.once("close", () => {
        this.happened({ what: "close", from: host.name, connection: connection.number })
        if (connection.client.destroyed && connection.server.destroyed) this.connections.delete(connection)
      })
    }
  }

  // --- faults

  /** Breaks every connection to or from a host, or to an address or a socket path, and says how many. */
  reset(input: string): number {
    const name = input === "localhost" ? "127.0.0.1" : normalize(input)
    const host = isLoopback(name) ? undefined : this.hosts.find(name)
    return this.breakAll(({ address, from, to }) =>
      address === name || (host !== undefined && (from === host || to === host))
    )
  }

  breakAll(applies: (connection: Connection) => boolean = () => true): number {
    const broken = this.openConnections().filter(applies)
    for (const { client, server } of broken) {
      client.onReset()
      server.onReset()
    }
    return broken.length
  }

  addRule(rule: NetworkRule): () => void {
    const remove = this.rules.add(rule)
    this.changed()
    return () => {
      remove()
      this.changed()
    }
  }

  private separate(separations: Separations, a: HostNames, b: HostNames | undefined): () => void {
    const [rule, remove] = separations.add(this.between(a, b))
    const removeRule = this.addRule(rule)
    return () => {
      remove()
      removeRule()
    }
  }

  private join(separations: Separations, a: HostNames, b: HostNames | undefined): void {
    separations.open(this.between(a, b))
    this.changed()
  }

  partition(a: HostNames, b: HostNames | undefined): () => void {
    return this.separate(this.partitions, a, b)
  }
  repair(a: HostNames, b: HostNames | undefined): void {
    this.join(this.partitions, a, b)
  }
  hold(a: HostNames, b: HostNames | undefined): () => void {
    return this.separate(this.holds, a, b)
  }
  release(a: HostNames, b: HostNames | undefined): void {
    this.join(this.holds, a, b)
  }

  setLink(a: HostNames, b: HostNames | undefined, options: LinkOptions): () => void {
    const remove = this.links.set(this.between(a, b), options)
    this.changed()
    return () => {
      remove()
      this.changed()
    }
  }

  private between(a: HostNames, b: HostNames | undefined): Crosses {
    return between(a, b, (host) => this.hosts.find(host)?.name ?? normalize(host))
  }

  /** Takes a host down: what it has open is gone without a word. Gives what takes it up again, unless others did since. */
  crash(host: Host): () => void {
    if (!host.isUp) return () => {}
    host.isUp = false
    const crash = ++host.crashes
    this.happened({ what: "crash", from: host.name })
    this.changed()
    for (const { client, from, server, to } of this.openConnections()) {
      if (from === host) client.vanish()
      if (to === host) server.vanish()
    }
    // only now: what waits to be accepted would be closed, and its peer would hear of it
    host.stopAll()
    for (const program of host.programs) program.kill()
    return () => {
      if (host.crashes === crash) this.start(host)
    }
  }

  /** Takes a host up again, with its programs. */
  start(host: Host): void {
    if (host.isUp) return
    host.isUp = true
    this.happened({ what: "start", from: host.name })
    this.changed()
    // a program may start others
    const programs = [...host.programs]
    for (const program of programs) program.start()
  }

  close(): void {
    for (const host of this.hosts.all) host.stopAll()
    for (const { client, server } of this.connections) {
      client.destroy()
      server.destroy()
    }
    this.timeline.close()
  }

  // --- roads

  linkBetween(from: Host, to: Host): Link {
    return this.links.between(from.name, to.name)
  }

  whenChanged(changed: () => void): () => void {
    const waiting = { changed }
    this.stuck.add(waiting)
    return () => void this.stuck.delete(waiting)
  }

  /** What is stuck is judged again, one after the other. */
  private changed(): void {
    this.activity.note()
    this.version++
    for (const waiting of this.stuck) {
      this.timeline.soon(() => {
        if (this.stuck.delete(waiting)) waiting.changed()
      })
    }
  }
}

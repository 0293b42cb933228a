import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as NetHost from "effect/net/Host"
import * as NetAddress from "effect/net/NetAddress"
import { type DialErrorReason, NameNotFound, Refused, Unreachable } from "../../errors/DialError.ts"
import { AddressInUse, TcpError, Unknown } from "../../errors/TcpError.ts"
import { connectFirst } from "../net/happyEyeballs.ts"
import * as Target from "../net/target.ts"
import { Waiting } from "../net/waiting.ts"
import type { Activity } from "./activity.ts"
import { MemoryDuplex } from "./duplex.ts"
import { EventLog, type NetworkEvent } from "./eventLog.ts"
import { between, type HostNames, Separation } from "./groups.ts"
import { type Host, Hosts, isAddress, isLoopback, isUnspecified, normalize, place } from "./hosts.ts"
import { type Link, linkOf, type LinkOptions } from "./link.ts"
import { NetworkRoad, type Surroundings } from "./networkRoad.ts"
import { cross, type Outcome, type Persistence, type Road } from "./road.ts"
import { type NetworkRule, Rules, type Verdict } from "./rules.ts"
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

/** As Linux has it (`tcp_syn_retries`): a second at first, and about two minutes in all. */
const connecting: Persistence = { first: 1000, longest: 64_000, total: 127_000 }

const drop: Verdict = { _tag: "Drop" }
const hold: Verdict = { _tag: "Hold" }
const passed: Outcome = { _tag: "Pass" }

/** An address by which every host reaches itself; systems take the unspecified one as the loopback. */
const isOwn = (address: string) => isLoopback(address) || isUnspecified(address)

const unreachable = (code: "EHOSTUNREACH" | "ENETDOWN" | "ETIMEDOUT", address: string) =>
  new Unreachable({ address, code, cause: systemError("connect", code, address) })

const goesThrough = ({ _tag }: Outcome) => _tag === "Pass" || _tag === "Corrupt"

/** RFC 8305, as the operating system's network has it. */
const attemptDelay = Duration.millis(250)

/** Hosts, the ports that are listened on, the connections between them, and what happens on the way. */
export class MemoryNetwork implements Surroundings {
  readonly hosts = new Hosts()
  readonly client: Host
  readonly rules: Rules
  private readonly separations = new Map<Verdict, Set<Separation>>([[drop, new Set()], [hold, new Set()]])
  private readonly overrides = new Set<
    { readonly applies: (from: string, to: string) => boolean; options: LinkOptions }
  >()
  private readonly connections = new Set<Connection>()
  private readonly stuck = new Set<{ readonly changed: () => void }>()
  private readonly links = new Map<string, Link>()
  private numbers = 0
  version = 0

  readonly timeline: Timeline
  readonly random: () => number
  private readonly activity: Activity
  private readonly log: EventLog
  private readonly defaults: LinkOptions
  constructor(
    timeline: Timeline,
    activity: Activity,
    random: () => number,
    options: { readonly defaults: LinkOptions; readonly events: number }
  ) {
    this.timeline = timeline
    this.activity = activity
    this.random = random
    this.defaults = options.defaults
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

  /** Asks one host, at one address, for a connection. */
  private attempt(
    from: Host,
    to: Host,
    target: Target.Target,
    address: string
  ): Effect.Effect<MemoryDuplex, DialErrorReason> {
    return Effect.callback((resume) => {
      const inet = NetHost.isHostPort(target)
      const port = inet ? target.port : 0
      const shown = inet ? place(address, port) : Target.formatPath(address)
      if (!from.isUp) return resume(Effect.fail(unreachable("ENETDOWN", shown)))
      const number = ++this.numbers
      const about = { from: from.name, to: to.name, port, connection: number }
      const there = new NetworkRoad(this, from, to, port, number, true)
      const back = new NetworkRoad(this, to, from, port, number, false)
      this.happened({ what: "connect", ...about })

      const lost = () => resume(Effect.fail(unreachable("ETIMEDOUT", shown)))
      const refused = () => {
        this.happened({ what: "refused", ...about })
        // a socket's file is gone with its server
        const cause = systemError("connect", inet ? "ECONNREFUSED" : "ENOENT", shown)
        resume(Effect.fail(new Refused({ address: shown, cause })))
      }
      const accepted = (waiting: Waiting) => {
        this.happened({ what: "connected", ...about })
        const [client, server] = inet
          ? MemoryDuplex.over(
            back,
            there,
            { address: this.addressFrom(from, address), port: from.nextPort() },
            { address, port }
          )
          : MemoryDuplex.over(back, there)
        this.remember({ number, target: Target.format(target), from, to, address, client, server, listener: waiting })
        // the client first: whoever accepts may interrupt the dial, and nobody would close its end
        resume(Effect.succeed(client))
        waiting.offer(server)
      }
      if (!this.timeline.isOpen) return refused()
      let stop = this.travel(there, "connect", (outcome) => {
        const waiting = !goesThrough(outcome) ? undefined : inet ? to.listener(address, port) : to.listenerOn(address)
        const answered = (outcome: Outcome) =>
          waiting !== undefined && goesThrough(outcome) ? accepted(waiting) : refused()
        if (back.isClear) answered(passed)
        else stop = this.travel(back, "accept", answered, lost)
      }, lost)
      return Effect.sync(() => stop())
    })
  }

  /** Takes a packet that has no bytes over a road, in no less than a turn of the event loop. */
  private travel(road: Road, kind: "connect" | "accept", arrived: (outcome: Outcome) => void, lost: () => void) {
    const due = this.timeline.now() + road.link.latency(this.random)
    return cross(road, { kind, offset: 0, size: 0 }, due, connecting, arrived, lost)
  }

  private addressFrom(from: Host, address: string): string {
    if (isLoopback(address)) return address
    const isSameFamily = (own: string) => own.includes(":") === address.includes(":")
    return from.addresses.find(isSameFamily) ?? from.addresses[0] ?? address
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

  private separate(verdict: Verdict, a: HostNames, b: HostNames | undefined): () => void {
    const separation = new Separation(between(a, b), verdict)
    this.separations.get(verdict)?.add(separation)
    const remove = this.addRule(separation.rule)
    return () => {
      this.separations.get(verdict)?.delete(separation)
      remove()
    }
  }

  private join(verdict: Verdict, a: HostNames, b: HostNames | undefined): void {
    for (const separation of this.separations.get(verdict) ?? []) separation.open(between(a, b))
    this.changed()
  }

  partition(a: HostNames, b: HostNames | undefined): () => void {
    return this.separate(drop, a, b)
  }
  repair(a: HostNames, b: HostNames | undefined): void {
    this.join(drop, a, b)
  }
  hold(a: HostNames, b: HostNames | undefined): () => void {
    return this.separate(hold, a, b)
  }
  release(a: HostNames, b: HostNames | undefined): void {
    this.join(hold, a, b)
  }

  setLink(a: HostNames, b: HostNames | undefined, options: LinkOptions): () => void {
    const override = { applies: between(a, b), options }
    this.overrides.add(override)
    this.changed()
    return () => {
      this.overrides.delete(override)
      this.changed()
    }
  }

  /** Takes a host down: what it has open is gone without a word. */
  crash(host: Host): void {
    if (!host.isUp) return
    host.isUp = false
    host.crashes++
    this.happened({ what: "crash", from: host.name })
    host.stopAll()
    for (const { client, from, server, to } of this.openConnections()) {
      if (from === host) client.vanish()
      if (to === host) server.vanish()
    }
    for (const program of host.programs) program.kill()
    this.changed()
  }

  /** Takes a host up again, with its programs. */
  start(host: Host): void {
    if (host.isUp) return
    host.isUp = true
    this.happened({ what: "start", from: host.name })
    this.changed()
    for (const program of host.programs) program.start()
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
    const key = `${from.name} ${to.name}`
    let link = this.links.get(key)
    if (link === undefined) {
      const applying = [...this.overrides].filter(({ applies }) => applies(from.name, to.name))
      link = linkOf(Object.assign({}, this.defaults, ...applying.map(({ options }) => options)))
      this.links.set(key, link)
    }
    return link
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
    this.links.clear()
    for (const waiting of this.stuck) {
      this.timeline.soon(() => {
        if (this.stuck.delete(waiting)) waiting.changed()
      })
    }
  }
}

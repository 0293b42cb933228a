import type { NetworkEvent } from "./eventLog.ts"
import type { Host } from "./hosts.ts"
import type { Link } from "./link.ts"
import type { Road, Sent } from "./road.ts"
import type { Packet, Rules, Verdict } from "./rules.ts"
import type { Timeline } from "./timeline.ts"

/** What all roads of a network share. */
export interface Surroundings {
  readonly timeline: Timeline
  readonly random: () => number
  readonly rules: Rules
  /** Changes with everything that may change what a road is like. */
  readonly version: number
  readonly linkBetween: (from: Host, to: Host) => Link
  readonly whenChanged: (changed: () => void) => () => void
  readonly happened: (event: Omit<NetworkEvent, "at">) => void
}

/** The way from one host to another, for one direction of one connection. */
export class NetworkRoad implements Road {
  private version = -1
  private current!: Link
  private clear = false
  private readonly crashes: number

  readonly timeline: Timeline
  readonly random: () => number
  private readonly network: Surroundings
  private readonly from: Host
  private readonly to: Host
  private readonly port: number
  private readonly connection: number
  private readonly toServer: boolean
  constructor(network: Surroundings, from: Host, to: Host, port: number, connection: number, toServer: boolean) {
    this.network = network
    this.timeline = network.timeline
    this.random = network.random
    this.from = from
    this.to = to
    this.port = port
    this.connection = connection
    this.toServer = toServer
    this.crashes = from.crashes
  }

  get link(): Link {
    this.refresh()
    return this.current
  }
  get isClear(): boolean {
    this.refresh()
    return this.clear
  }
  get isDown(): boolean {
    return !this.to.isUp
  }
  get isOrphaned(): boolean {
    return this.from.crashes !== this.crashes
  }

  judge(sent: Sent): Verdict | undefined {
    return this.network.rules.judge(this.packet(sent))
  }

  whenChanged(changed: () => void): () => void {
    return this.network.whenChanged(changed)
  }

  happened(what: NetworkEvent["what"], bytes?: number): void {
    this.network.happened({
      what,
      from: this.from.name,
      to: this.to.name,
      connection: this.connection,
      ...(bytes === undefined ? {} : { bytes })
    })
  }

  private packet({ kind, offset, size }: Sent): Packet {
    const { connection, port, toServer } = this
    return { kind, from: this.from.name, to: this.to.name, port, connection, toServer, offset, size }
  }

  private refresh(): void {
    if (this.version === this.network.version) return
    this.version = this.network.version
    this.current = this.network.linkBetween(this.from, this.to)
    this.clear = this.current.isImmediate && !this.isDown && this.network.rules.isEmpty
  }
}

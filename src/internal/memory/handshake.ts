import * as Effect from "effect/Effect"
import { type DialErrorReason, Refused, Unreachable } from "../../errors/DialError.ts"
import * as Target from "../net/target.ts"
import type { Waiting } from "../net/waiting.ts"
import { MemoryDuplex } from "./duplex.ts"
import { type Host, isLoopback, place } from "./hosts.ts"
import { NetworkRoad, type Surroundings } from "./networkRoad.ts"
import { cross, type Outcome, type Persistence, type Road } from "./road.ts"
import { systemError } from "./systemError.ts"

/** One host asks another, at one address or socket path, for a connection. */
export interface Request {
  readonly number: number
  readonly from: Host
  readonly to: Host
  readonly address: string
  /** None for a socket path. */
  readonly port: number | undefined
}

/** As Linux has it (`tcp_syn_retries`): a second at first, and about two minutes in all. */
const connecting: Persistence = { first: 1000, longest: 64_000, total: 127_000 }

const passed: Outcome = { _tag: "Pass" }

const goesThrough = ({ _tag }: Outcome) => _tag === "Pass" || _tag === "Corrupt"

export const unreachable = (code: "EHOSTUNREACH" | "ENETDOWN" | "ETIMEDOUT", address: string) =>
  new Unreachable({ address, code, cause: systemError("connect", code, address) })

/** Takes a packet that has no bytes over a road, in no less than a turn of the event loop. */
const travel = (road: Road, kind: "connect" | "accept", arrived: (outcome: Outcome) => void, lost: () => void) => {
  const due = road.timeline.now() + road.link.latency(road.random)
  return cross(road, { kind, offset: 0, size: 0 }, due, connecting, arrived, lost)
}

const addressFrom = (from: Host, address: string): string => {
  if (isLoopback(address)) return address
  const isSameFamily = (own: string) => own.includes(":") === address.includes(":")
  return from.addresses.find(isSameFamily) ?? from.addresses[0] ?? address
}

/** Gives the client's end; `made` is told of both before anybody uses them. */
export const handshake = (
  network: Surroundings,
  { address, from, number, port, to }: Request,
  made: (client: MemoryDuplex, server: MemoryDuplex, listener: Waiting) => void
): Effect.Effect<MemoryDuplex, DialErrorReason> =>
  Effect.callback((resume) => {
    const shown = port === undefined ? Target.formatPath(address) : place(address, port)
    const fails = (code: "ENETDOWN" | "ETIMEDOUT") => resume(Effect.fail(unreachable(code, shown)))
    if (!from.isUp) return fails("ENETDOWN")
    const about = { from: from.name, to: to.name, port: port ?? 0, connection: number }
    const there = new NetworkRoad(network, from, to, about.port, number, true)
    network.happened({ what: "connect", ...about })

    const lost = () => fails("ETIMEDOUT")
    const refused = () => {
      network.happened({ what: "refused", ...about })
      // a socket's file is gone with its server
      const cause = systemError("connect", port === undefined ? "ENOENT" : "ECONNREFUSED", shown)
      resume(Effect.fail(new Refused({ address: shown, cause })))
    }
    const accepted = (back: Road, waiting: Waiting) => {
      network.happened({ what: "connected", ...about })
      const [client, server] = port === undefined
        ? MemoryDuplex.over(back, there)
        : MemoryDuplex.over(
          back,
          there,
          { address: addressFrom(from, address), port: from.nextPort() },
          { address, port }
        )
      made(client, server, waiting)
      // the other host has crashed since it answered
      if (back.isOrphaned) server.vanish()
      // the client first: whoever accepts may interrupt the dial, and nobody would close its end
      resume(Effect.succeed(client))
      if (!server.destroyed) waiting.offer(server)
    }
    if (!network.timeline.isOpen) return refused()
    let stop = travel(there, "connect", (outcome) => {
      const back = new NetworkRoad(network, to, from, about.port, number, false)
      const waiting = !goesThrough(outcome)
        ? undefined
        : port === undefined
        ? to.listenerOn(address)
        : to.listener(address, port)
      const answered = (outcome: Outcome) => {
        if (there.isOrphaned) fails("ENETDOWN")
        else if (waiting !== undefined && goesThrough(outcome)) accepted(back, waiting)
        else refused()
      }
      if (back.isClear) answered(passed)
      else stop = travel(back, "accept", answered, lost)
    }, lost)
    return Effect.sync(() => stop())
  })

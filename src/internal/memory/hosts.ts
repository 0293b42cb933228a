import * as NetHost from "effect/net/Host"
import * as NetAddress from "effect/net/NetAddress"
import * as Result from "effect/Result"
import type { Waiting } from "../net/waiting.ts"

/** IANA's range for ports that nobody asked for by number. */
const firstEphemeralPort = 49152

export const isLoopback = (address: string): boolean =>
  Result.match(NetAddress.ipFromString(address), { onFailure: () => false, onSuccess: NetAddress.isLoopback })

export const isUnspecified = (address: string) => address === "0.0.0.0" || address === "::"

export const isAddress = (host: string): boolean => Result.isSuccess(NetAddress.ipFromString(host))

/** Names in lower case, addresses in their shortest form; what is neither (a socket path) as it is. */
export const normalize = (host: string): string =>
  Result.match(NetHost.hostFromString(host), { onFailure: () => host, onSuccess: NetHost.formatHost })

export const place = (address: string, port: number): string =>
  address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`

/** A program that belongs to a host: it ends when the host crashes, and starts again with it. */
export interface Program {
  readonly start: () => void
  readonly kill: () => void
}

/** A computer on the network, with a loopback and socket paths of its own. */
export class Host {
  isUp = true
  /** How often it has crashed: what was connected before knows nothing of it now. */
  crashes = 0
  readonly programs = new Set<Program>()
  private readonly listeners = new Map<string, Waiting>()
  private ephemeralPort = firstEphemeralPort

  readonly name: string
  readonly addresses: ReadonlyArray<string>
  constructor(name: string, addresses: ReadonlyArray<string>) {
    this.name = name
    this.addresses = addresses
  }

  /** Whether an address is one of this host's, by which it is reached or reaches itself. */
  has(address: string): boolean {
    return this.addresses.includes(address) || isLoopback(address) || isUnspecified(address)
  }

  /** Begins to listen, unless somebody does there already. */
  listen(address: string, port: number, waiting: Waiting): boolean {
    const others = isUnspecified(address)
      ? [...this.addresses, "127.0.0.1", "::1", "0.0.0.0", "::"]
      : [address, "0.0.0.0", "::"]
    if (others.some((other) => this.listeners.has(place(other, port)))) return false
    this.listeners.set(place(address, port), waiting)
    return true
  }

  listenOn(path: string, waiting: Waiting): boolean {
    if (this.listeners.has(path)) return false
    this.listeners.set(path, waiting)
    return true
  }

  /** Who listens on an address of this host. */
  listener(address: string, port: number): Waiting | undefined {
    return this.listeners.get(place(address, port))
      ?? this.listeners.get(place("0.0.0.0", port))
      ?? this.listeners.get(place("::", port))
  }

  listenerOn(path: string): Waiting | undefined {
    return this.listeners.get(path)
  }

  /** Ends a listener, if it is still this one. */
  stopListening(key: string, waiting: Waiting): void {
    if (this.listeners.get(key) === waiting) this.listeners.delete(key)
    waiting.close()
  }

  stopAll(): void {
    for (const waiting of this.listeners.values()) waiting.close()
    this.listeners.clear()
  }

  /** A port to dial from. */
  nextPort(): number {
    const port = this.ephemeralPort
    this.ephemeralPort = port === 65535 ? firstEphemeralPort : port + 1
    return port
  }

  /** A port that nobody listens on. */
  freePort(address: string): number {
    let port = this.nextPort()
    while (this.listener(address, port) !== undefined) port = this.nextPort()
    return port
  }
}

/** What a name server says of a name that is not simply a host's. */
export type Answer = ReadonlyArray<string> | "NotFound" | "Unavailable"

/** What a name stands for. */
export type Lookup =
  | { readonly _tag: "Found"; readonly addresses: ReadonlyArray<string> }
  | { readonly _tag: "NotFound" | "Unavailable" }

/** All hosts, by name and by address, and the names that stand for others. */
export class Hosts {
  private readonly byName = new Map<string, Host>()
  private readonly byAddress = new Map<string, Host>()
  private readonly answers = new Map<string, Array<{ readonly answer: Answer }>>()
  /** How many addresses of 10.0.0.0/8 are given away. The first is the network's own. */
  private given = 1

  get all(): Iterable<Host> {
    return this.byName.values()
  }

  /** Makes a host known. One that is known keeps its addresses. */
  add(input: string, wanted?: ReadonlyArray<string>): Host {
    const name = normalize(input)
    const known = this.find(name)
    if (known !== undefined) return known
    const addresses = wanted === undefined || wanted.length === 0
      ? [isAddress(name) ? name : this.freeAddress()]
      : wanted.map(normalize)
    const host = new Host(name, addresses)
    this.byName.set(name, host)
    for (const address of addresses) if (!this.byAddress.has(address)) this.byAddress.set(address, host)
    return host
  }

  /** The host that has this name or address. */
  find(input: string): Host | undefined {
    const name = normalize(input)
    return this.byName.get(name) ?? this.byAddress.get(name)
  }

  /** Has a name stand for other hosts or addresses, until what it gives is called. */
  answer(input: string, answer: Answer): () => void {
    const name = normalize(input)
    const own = { answer }
    const stack = this.answers.get(name) ?? []
    this.answers.set(name, stack)
    stack.push(own)
    return () => void stack.splice(stack.indexOf(own), 1)
  }

  lookup(name: string): Lookup {
    const answer = this.answers.get(name)?.at(-1)?.answer
    if (typeof answer === "string") return { _tag: answer }
    const addresses = answer === undefined
      ? this.byName.get(name)?.addresses ?? []
      : answer.flatMap((each) => isAddress(each) ? [normalize(each)] : this.add(each).addresses)
    return addresses.length === 0 ? { _tag: "NotFound" } : { _tag: "Found", addresses }
  }

  private freeAddress(): string {
    const number = ++this.given - 1
    const address = `10.${number >> 16}.${(number >> 8) & 0xff}.${number & 0xff}`
    return this.byAddress.has(address) ? this.freeAddress() : address
  }
}

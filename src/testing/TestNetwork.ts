/**
 * A network in memory, for tests: what dials and what listens runs on it unchanged, without sockets, in simulated time, with
 * every fault that a network can have, and the same way each time.
 *
 * `layer` gives a `Dialer` and a `Listener` that are connected to each other and to nothing else. A server binds any host
 * name it likes, a client dials that name. `network.host(name)` gives the same as seen from one host; rules, partitions and
 * crashes break what is between them.
 *
 * **Details**
 *
 * - **Hosts**. A host is known once something was bound on it, once it was asked for, or when `hosts` names it. Each has an
 *   address (10.0.0.2 and on) and a loopback and socket paths of its own. The layer's own `Dialer` dials from the host
 *   `client` (10.0.0.1); its own `Listener` may bind any name. Dialling an unknown name fails with `NameNotFound`, an unknown
 *   address with `Unreachable`, a known host on which nobody listens with `Refused`.
 * - **Connections** behave as TCP does: bytes arrive in order and at a later turn of the event loop, never inside the write;
 *   what is written in one turn may arrive as one piece; a writer waits only once `bufferSize` bytes are under way or
 *   unread; each side can be ended by itself; closing with bytes unread resets the connection; the first write to a closed
 *   peer is lost and the next one fails.
 * - **Time** is Effect's clock. Under a `TestClock` it moves only by `TestClock.adjust`, which goes from one moment at which
 *   something is due to the next and lets everything that comes of it happen there: a timeout never overtakes data
 *   that has only to be read. `network.run(program)` moves the clock by itself. Without latency nothing takes time.
 * - **Seed**. All that is random, and what the program draws from Effect's `Random`, comes from `seed`: the same seed gives
 *   the same `events` in the same order.
 * - When the layer's scope ends, the programs of hosts are interrupted; connections that somebody has left open are a defect
 *   (`leaks`), then everything is closed.
 *
 * **Gotchas**
 *
 * The layer brings its own `Clock` and `Random`. Provide it to the test itself (`Layer.provideMerge`), not only to the layers
 * under test, or `TestClock.adjust` in the test does not wait for the network.
 *
 * Real time is never waited for, except for files. Other work on other threads (zlib, WebCrypto, the making of keys) cannot
 * be seen: a timeout that is due meanwhile fires first. TLS and SSH draw randomness of their own, so that the sizes of what
 * they send can differ between two runs of the same seed.
 *
 * Two ends that answer each other for ever on a link without latency never let the clock go on. A program that repeats
 * something for ever keeps `run` going up to its `limit`, by default 24 simulated hours: give it a shorter one.
 *
 * What the operating system alone does (backlogs, routing, TCP's windows and probes) is not imitated. Keep one test on
 * loopback beside those on this network.
 *
 * **Example** (A client that has to get over a partition)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Connection, Listener, TcpClient } from "hawser"
 * import { TestNetwork } from "hawser/testing"
 *
 * const test = Effect.gen(function*() {
 *   const network = yield* TestNetwork.TestNetwork
 *   const tcp = yield* TcpClient.TcpClient
 *   const { accept } = yield* (yield* Listener.Listener).bind("db:5432")
 *   const client = yield* tcp.connect("db:5432")
 *   const server = yield* Connection.fromDuplex(yield* accept)
 *   yield* network.partition("client", "db")
 *   yield* client.write("ping\n")
 *   yield* Effect.forkChild(Effect.delay(network.repair("client", "db"), "3 seconds"))
 *   return yield* server.readLine() // "ping", three seconds later and however it was cut up
 * }).pipe(
 *   Effect.provide(TcpClient.layer),
 *   TestNetwork.simulated({ seed: 42, defaults: { latency: "20 millis", fragment: 1 } })
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Dns from "effect/net/Dns"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import { ConnectTimeout, DialError } from "../errors/DialError.ts"
import { Activity } from "../internal/memory/activity.ts"
import { autopilot, type Options as RunOptions, type Stalled } from "../internal/memory/autopilot.ts"
import type { NetworkEvent } from "../internal/memory/eventLog.ts"
import type { HostNames } from "../internal/memory/groups.ts"
import type { Answer, Host } from "../internal/memory/hosts.ts"
import type { LinkOptions } from "../internal/memory/link.ts"
import { nameService } from "../internal/memory/nameService.ts"
import { type Connection, MemoryNetwork } from "../internal/memory/network.ts"
import { startOn } from "../internal/memory/program.ts"
import type { NetworkRule } from "../internal/memory/rules.ts"
import { isTestClock, settlingClock } from "../internal/memory/settlingClock.ts"
import { Timeline } from "../internal/memory/timeline.ts"
import { within } from "../internal/net/deadline.ts"
import { closeIn } from "../internal/net/duplex.ts"
import * as Hop from "../internal/net/hop.ts"
import * as Target from "../internal/net/target.ts"
import * as Dialer from "../services/Dialer.ts"
import * as Listener from "../services/Listener.ts"

export type {
  /**
   * How `run` goes about it.
   *
   * @category models
   * @since 0.1.0
   */
  Options as RunOptions
} from "../internal/memory/autopilot.ts"
export {
  /**
   * A program that waits for what will never happen: a hang found.
   *
   * @category errors
   * @since 0.1.0
   */
  Stalled
} from "../internal/memory/autopilot.ts"
export type {
  /**
   * Something that happened on the network. What was sent is not in it, only how much.
   *
   * @category models
   * @since 0.1.0
   */
  NetworkEvent
} from "../internal/memory/eventLog.ts"
export type {
  /**
   * One host, or several, by name or address.
   *
   * @category models
   * @since 0.1.0
   */
  HostNames
} from "../internal/memory/groups.ts"
export type {
  /**
   * What a name stands for: hosts or addresses, of which the first that connects is taken (RFC 8305); or that there is no such
   * name, or no answer.
   *
   * @category models
   * @since 0.1.0
   */
  Answer
} from "../internal/memory/hosts.ts"
export type {
  /**
   * How the connections of a link behave, each direction by itself.
   *
   * @category models
   * @since 0.1.0
   */
  LinkOptions,
  /**
   * A number, or any between two.
   *
   * @category models
   * @since 0.1.0
   */
  Range
} from "../internal/memory/link.ts"

/**
 * How the network is.
 *
 * @category models
 * @since 0.1.0
 */
export interface NetworkOptions {
  /** Where all that is random comes from. Default 0. */
  readonly seed?: number | undefined
  /** Hosts that exist although nothing listens on them (yet): dialling them is refused. Default: none. */
  readonly hosts?: ReadonlyArray<string> | undefined
  /** How every link behaves, unless `link` says otherwise. Default: without latency, limits or faults. */
  readonly defaults?: LinkOptions | undefined
  /**
   * What it means when a connection is still open at the end of the layer's scope, although the scope that it was dialled in,
   * or its listener, is closed, after a test that has succeeded: a defect that names it, or nothing. Default `"fail"`.
   */
  readonly leaks?: "fail" | "ignore" | undefined
  /** How many of the last events are kept. Default 100,000. */
  readonly events?: number | undefined
}

/**
 * A connection of which at least one end is open.
 *
 * @category models
 * @since 0.1.0
 */
export interface OpenConnection {
  /** Its number, as in events and packets. */
  readonly connection: number
  /** What was dialled, such as `"db:5432"`. */
  readonly target: string
  /** The host that dialled. */
  readonly from: string
  /** The host that was dialled. */
  readonly to: string
  /** Which ends are open. */
  readonly open: ReadonlyArray<"client" | "server">
}

/**
 * A host, and the network as seen from it.
 *
 * **Details**
 *
 * `listener` binds the host's own name, its addresses, `0.0.0.0` for all of them, its loopback and its socket paths;
 * anything else fails with `Unknown` (`EADDRNOTAVAIL`). `layer` gives both to a program.
 *
 * `start` runs a program on the host, which may use its `Dialer` and `Listener`. It, its scope and what it has started in there
 * last until the host crashes; when the host is up again, it is run from the beginning. A program that fails is an event
 * (`failed`) and a warning in the log. At the end of the network programs are interrupted, and their finalizers get the
 * simulated time that they need.
 *
 * @category models
 * @since 0.1.0
 */
export interface TestHost {
  readonly name: string
  readonly addresses: ReadonlyArray<string>
  readonly dialer: Dialer.Dialer["Service"]
  readonly listener: Listener.Listener["Service"]
  readonly layer: Layer.Layer<Dialer.Dialer | Listener.Listener>
  readonly start: <E, R>(
    program: Effect.Effect<unknown, E, R>
  ) => Effect.Effect<void, never, Exclude<R, Dialer.Dialer | Listener.Listener | Scope.Scope>>
}

/**
 * The network itself.
 *
 * **Details**
 *
 * What is scoped is undone when the scope ends. Hosts are given by name or address, alone or several.
 *
 * - `host(name, { addresses })`: makes a host known, by default with one address of 10.0.0.0/8. One that is known keeps its
 *   addresses.
 * - `name(name, answer)`: what DNS says of a name; hosts have their own names already. For programs that ask Effect's `Dns`
 *   the layer gives that too.
 * - `link(a, b, options)`: how the connections between two groups behave, in place of the layer's `defaults`; the last one
 *   counts, option by option. What is under way stays as it was sent; `bufferSize` is for new connections.
 * - `rule(rule)`: what becomes of packets, see `NetworkRule`.
 * - `partition(a, b)`: loses everything between two groups (without `b`: between `a` and all others), also what is under way:
 *   connections stay and hang, dials time out. `repair(a, b)` ends it early, for all or for some of them.
 * - `hold(a, b)`, `release(a, b)`: the same, but what is held is not sent again: it just waits.
 * - `reset(host)`: breaks all connections to or from a host, to an address, or to a socket path; `resetAll` all there are.
 *   Reads and writes on both sides fail with `ECONNRESET`; what had arrived before can still be read. They give how many
 *   connections they broke. To break a single one, call `resetAndDestroy` on one of its streams, as on a `net.Socket`.
 * - `crash(host)`: the host is gone without a word until the scope ends or `bounce`. Its programs and listeners end; its
 *   peers' connections are half-open, and hear nothing; dials to it time out, its own fail with `Unreachable`. When it is up
 *   again, its programs start again, and what peers still send on old connections is answered by a reset.
 *   A host that is down already stays down for as long as the first `crash` says.
 * - `bounce(host)`: up again; a host that is up crashes first.
 * - `events`: what happened, oldest first; `connections`: those of which an end is open, oldest first.
 * - `settle`: waits until nothing moves any more that needs no time.
 * - `run(program)`: runs it in simulated time: whenever nothing moves, a `TestClock` goes on to the next moment at which
 *   something is due. When there is no such moment, or none that helps within `limit`, it fails with `Stalled`: the program
 *   would hang for ever. On a real clock it just runs the program.
 *
 * @category services
 * @since 0.1.0
 */
export class TestNetwork extends Context.Service<TestNetwork, {
  readonly host: (
    name: string,
    options?: { readonly addresses?: ReadonlyArray<string> | undefined }
  ) => Effect.Effect<TestHost>
  readonly name: (name: string, answer: Answer) => Effect.Effect<void, never, Scope.Scope>
  readonly link: (a: HostNames, b: HostNames, options: LinkOptions) => Effect.Effect<void, never, Scope.Scope>
  readonly rule: (rule: NetworkRule) => Effect.Effect<void, never, Scope.Scope>
  readonly partition: (a: HostNames, b?: HostNames) => Effect.Effect<void, never, Scope.Scope>
  readonly repair: (a: HostNames, b?: HostNames) => Effect.Effect<void>
  readonly hold: (a: HostNames, b?: HostNames) => Effect.Effect<void, never, Scope.Scope>
  readonly release: (a: HostNames, b?: HostNames) => Effect.Effect<void>
  readonly reset: (host: string) => Effect.Effect<number>
  readonly resetAll: Effect.Effect<number>
  readonly crash: (host: string) => Effect.Effect<void, never, Scope.Scope>
  readonly bounce: (host: string) => Effect.Effect<void>
  readonly events: Effect.Effect<ReadonlyArray<NetworkEvent>>
  readonly connections: Effect.Effect<ReadonlyArray<OpenConnection>>
  readonly settle: Effect.Effect<void>
  readonly run: <A, E, R>(
    program: Effect.Effect<A, E, R>,
    options?: RunOptions
  ) => Effect.Effect<A, E | Stalled, R>
}>()("hawser/testing/TestNetwork") {}

const connectTimeout = Duration.seconds(10)

const dialerOf = (network: MemoryNetwork, from: Host) =>
  Dialer.Dialer.of({
    connectTimeout,
    dial: Hop.dialing("direct", (target, options) => {
      const budget = Hop.budgetOf(options, connectTimeout)
      const late = () => Effect.fail(new ConnectTimeout({ after: budget, phase: "the connection" }))
      return Effect.mapError(
        Effect.uninterruptibleMask((restore) =>
          Effect.flatMap(
            restore(within(network.connect(from, target), budget, late)),
            (duplex) =>
              Effect.flatMap(Effect.scope, (scope) => {
                duplex.scope = scope
                return closeIn(scope, duplex)
              })
          )
        ),
        (reason) => new DialError({ target: Target.format(target), hop: "direct", reason })
      )
    })
  })

/** Without a host: of all hosts. */
const listenerOf = (network: MemoryNetwork, on?: Host) =>
  Listener.Listener.of({
    bind: Effect.fn("Listener.bind")(function*(input, options) {
      const target = yield* Listener.parseAddress(input)
      const { accept, address, receive } = yield* Effect.acquireRelease(
        network.listen(on, target, options?.pending ?? 128),
        (bound) => Effect.sync(bound.close)
      )
      return { accept, address, receive }
    })
  })

/** What the network's layer lives in. */
interface Surroundings {
  readonly activity: Activity
  readonly clock: Clock.Clock
  readonly scope: Scope.Scope
}

const hostOf = (network: MemoryNetwork, host: Host, { activity, clock, scope }: Surroundings): TestHost => {
  const own = Context.make(Dialer.Dialer, dialerOf(network, host)).pipe(
    Context.add(Listener.Listener, listenerOf(network, host))
  )
  return {
    name: host.name,
    addresses: host.addresses,
    dialer: Context.get(own, Dialer.Dialer),
    listener: Context.get(own, Listener.Listener),
    layer: Layer.succeedContext(own),
    start: (program) =>
      Effect.contextWith((context) => {
        // what it has started stays, as with a service that has come up
        const here = Effect.scopedWith((scope) =>
          Effect.andThen(Effect.provideContext(program, Context.add(own, Scope.Scope, scope)), Effect.never)
        )
        const started = startOn(host, here, context, (cause) => {
          network.happened({ what: "failed", from: host.name })
          Effect.runForkWith(context)(Effect.logWarning(`a program on ${host.name} has failed`, cause))
        })
        // finalizers may take their time, and nobody else moves the clock any more
        return Scope.addFinalizer(scope, Effect.orDie(autopilot(started.stop, clock, activity)))
      })
  }
}

const testNetwork = (network: MemoryNetwork, surroundings: Surroundings) => {
  const { activity, clock } = surroundings
  const scoped = (begin: () => () => void) =>
    Effect.asVoid(Effect.acquireRelease(Effect.sync(begin), (end) => Effect.sync(end)))
  return TestNetwork.of({
    host: (name, options) =>
      Effect.sync(() => hostOf(network, network.hosts.add(name, options?.addresses), surroundings)),
    name: (name, answer) => scoped(() => network.hosts.answer(name, answer)),
    link: (a, b, options) => scoped(() => network.setLink(a, b, options)),
    rule: (rule) => scoped(() => network.addRule(rule)),
    partition: (a, b) => scoped(() => network.partition(a, b)),
    repair: (a, b) => Effect.sync(() => network.repair(a, b)),
    hold: (a, b) => scoped(() => network.hold(a, b)),
    release: (a, b) => Effect.sync(() => network.release(a, b)),
    reset: Effect.fn("TestNetwork.reset")(function*(host) {
      const broken = network.reset(host)
      yield* activity.settled
      return broken
    }),
    resetAll: Effect.suspend(() => {
      const broken = network.breakAll()
      return Effect.as(activity.settled, broken)
    }),
    crash: (name) =>
      scoped(() => {
        const host = network.hosts.add(name)
        return network.crash(host)
      }),
    bounce: (name) =>
      Effect.sync(() => {
        const host = network.hosts.add(name)
        network.crash(host)
        network.start(host)
      }),
    events: Effect.sync(() => network.events),
    connections: Effect.sync(() => network.openConnections().map(describe)),
    settle: activity.settled,
    run: (program, options) => autopilot(program, clock, activity, options)
  })
}

const describe = ({ client, from, number, server, target, to }: Connection): OpenConnection => ({
  connection: number,
  target,
  from: from.name,
  to: to.name,
  open: [...(client.destroyed ? [] : ["client" as const]), ...(server.destroyed ? [] : ["server" as const])]
})

/** What was done wrong on the network, by the end of a test that has succeeded. */
const mistake = Effect.fnUntraced(function*(network: MemoryNetwork, activity: Activity, leaks: "fail" | "ignore") {
  const { fault } = network.rules
  if (fault !== undefined) return new Error("a network rule has thrown", { cause: fault.cause })
  if (leaks === "ignore") return undefined
  if (network.leaks().length > 0) yield* activity.settled
  const left = network.leaks().map(describe).map(({ from, open, target }) =>
    `${target} from ${from} (${open.join(" and ")})`
  )
  return left.length > 0 ? new Error(`connections were left open: ${left.join(", ")}`) : undefined
})

/** Ends the network. */
const end = (network: MemoryNetwork, activity: Activity, leaks: "fail" | "ignore", exit: Exit.Exit<unknown, unknown>) =>
  Effect.ensuring(
    Exit.isFailure(exit)
      ? Effect.void
      : Effect.flatMap(
        mistake(network, activity, leaks),
        (found) => found === undefined ? Effect.void : Effect.die(found)
      ),
    Effect.sync(() => network.close())
  )

const make = Effect.fnUntraced(function*(options: NetworkOptions) {
  const given = yield* Clock.Clock
  const scope = yield* Effect.scope
  const activity = new Activity()
  const clock = isTestClock(given) ? settlingClock(given, activity) : given
  const seed = options.seed ?? 0
  // the network's chances do not depend on how often the program draws
  const [chances, random] = yield* Effect.all([
    Random.withSeed(Random.Random, `network ${seed}`),
    Random.withSeed(Random.Random, `program ${seed}`)
  ])
  const network = new MemoryNetwork(new Timeline(clock, activity), activity, () => chances.nextDoubleUnsafe(), {
    defaults: options.defaults ?? {},
    events: options.events ?? 100_000
  })
  for (const host of options.hosts ?? []) network.hosts.add(host)
  yield* Effect.addFinalizer((exit) => end(network, activity, options.leaks ?? "fail", exit))
  return Context.make(Dialer.Dialer, dialerOf(network, network.client)).pipe(
    Context.add(Listener.Listener, listenerOf(network)),
    Context.add(Dns.Dns, nameService(network.hosts)),
    Context.add(TestNetwork, testNetwork(network, { activity, clock, scope })),
    Context.add(Clock.Clock, clock),
    Context.add(Random.Random, random)
  )
})

/**
 * A network of its own for each call, with nobody on it yet. It brings the clock and the random numbers of the test with
 * it: see the module.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: NetworkOptions = {}
): Layer.Layer<Dialer.Dialer | Dns.Dns | Listener.Listener | TestNetwork> => Layer.effectContext(make(options))

/**
 * Runs a test on a network of its own, in simulated time: `run`, with a scope inside and the `layer` around. What the test
 * opens is closed before the network looks for leaks.
 *
 * **Example** (A test in one pipe)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { TcpClient } from "hawser"
 * import { TestNetwork, TestPeers } from "hawser/testing"
 *
 * const test = Effect.gen(function*() {
 *   yield* TestPeers.echo({ address: "db:5432" })
 *   const tcp = yield* TcpClient.TcpClient
 *   return yield* tcp.requestString("db:5432", "ping\n")
 * }).pipe(
 *   Effect.provide(TcpClient.layer),
 *   TestNetwork.simulated({ seed: 1, defaults: { latency: "20 millis" } })
 * )
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const simulated = (options: NetworkOptions & RunOptions = {}) =>
<A, E, R>(
  test: Effect.Effect<A, E, R>
): Effect.Effect<
  A,
  E | Stalled,
  Exclude<Exclude<R, Scope.Scope>, Dialer.Dialer | Dns.Dns | Listener.Listener | TestNetwork>
> => TestNetwork.use((network) => network.run(Effect.scoped(test), options)).pipe(Effect.provide(layer(options)))

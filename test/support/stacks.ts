/** Ways to a target through whatever can stand on them, in any order, each of it on a host of its own of the test network. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Dns from "effect/net/Dns"
import type * as Scope from "effect/Scope"
import type { DialError } from "../../src/errors/DialError.ts"
import type { SshError } from "../../src/errors/SshError.ts"
import type { TcpError } from "../../src/errors/TcpError.ts"
import type { TlsConfigError } from "../../src/errors/TlsConfigError.ts"
import * as Proxy from "../../src/layers/Proxy.ts"
import * as ProxyProtocol from "../../src/layers/ProxyProtocol.ts"
import * as SshTunnel from "../../src/layers/SshTunnel.ts"
import * as Tls from "../../src/layers/Tls.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import type * as Listener from "../../src/services/Listener.ts"
import type * as TcpServer from "../../src/services/TcpServer.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import * as TestPeers from "../../src/testing/TestPeers.ts"
import { leavesNothing } from "./leaks.ts"
import { opensNoPort } from "./noPorts.ts"

/** What leads on to where it is asked to. */
type Middle = "socks4" | "socks4a" | "socks5" | "http" | "ssh"

/** A step of a way. TLS, and a PROXY header, are for whoever is dialled through them: what comes before them, or the target. */
export type Step = Middle | "tls" | "proxyProtocol"

/** Steps from the target to the client: `["tls", "socks5"]` is TLS to the target through a SOCKS proxy. */
export type Stack = ReadonlyArray<Step>

export const nameOf = (stack: Stack): string => stack.length === 0 ? "nothing in between" : stack.join(" over ")

/** A layer that leads along a step. */
type Leads = Layer.Layer<Dialer.Dialer, DialError | SshError | TlsConfigError, Dialer.Dialer | Dns.Dns>

interface Place {
  readonly name: string
  readonly tls: TestCertificates.Credentials | undefined
}

type Begin = (place: Place) => Effect.Effect<
  Leads,
  TcpError | TlsConfigError,
  Dialer.Dialer | Listener.Listener | Scope.Scope
>

const socks = (protocol: "socks4" | "socks5"): Begin => ({ name, tls }) =>
  Effect.as(
    TestPeers.socks5({ address: `${name}:1080`, tls }),
    Proxy.layer({ protocol, host: name, port: 1080 })
  )

/** How each of them is begun, and the layer that leads through it. */
const begin: { readonly [M in Middle]: Begin } = {
  // the addresses of targets have to be known here, or this would be SOCKS4a
  socks4: ({ name, tls }) =>
    Effect.as(
      TestPeers.socks5({ address: `${name}:1080`, tls }),
      Proxy.layerDns({ protocol: "socks4", host: name, port: 1080 })
    ),
  socks4a: socks("socks4"),
  socks5: socks("socks5"),
  http: ({ name, tls }) =>
    Effect.as(TestPeers.httpProxy({ address: `${name}:3128`, tls }), Proxy.layer(`http://${name}:3128`)),
  ssh: ({ name, tls }) =>
    Effect.map(
      TestPeers.sshServer({ address: `${name}:22`, forwarding: true, tls }),
      ({ settings }) => SshTunnel.layer({ ...settings, host: name, port: 22 })
    )
}

/** A way to a host on which nothing listens yet. */
export interface Way {
  /** The Dialer of the client. */
  readonly layer: Layer.Layer<Dialer.Dialer>
  readonly target: TestNetwork.TestHost
  /** What a server has to be told to be understood at the end of the way. */
  readonly expects: Pick<TcpServer.Options, "tls" | "proxyProtocol">
  /** The authority of all certificates on the way, and that of the target. */
  readonly authority: TestCertificates.Authority
  readonly credentials: TestCertificates.Credentials
  /** Asserts that connections are open along all of the way, and nowhere else. */
  readonly isTravelled: Effect.Effect<void>
}

/** Begins a way, from the client on. */
const make = Effect.fnUntraced(function*(stack: Stack): Effect.fn.Return<
  Way,
  DialError | SshError | TcpError | TlsConfigError,
  Dialer.Dialer | Dns.Dns | Scope.Scope | TestNetwork.TestNetwork
> {
  const network = yield* TestNetwork.TestNetwork
  const here = yield* Effect.context<Dialer.Dialer | Dns.Dns>()
  const authority = yield* TestCertificates.authority()
  const target = yield* network.host("target.test")
  const certify = (name: string) => authority.issue({ names: [name] })
  const hosts = ["client"]
  let layer: Layer.Layer<Dialer.Dialer, DialError | SshError | TlsConfigError, Dns.Dns> = Layer.succeed(
    Dialer.Dialer,
    Context.get(here, Dialer.Dialer)
  )
  const wanted = new Set<Step>()
  for (const step of stack.toReversed()) {
    let leads: Leads
    if (step === "tls" || step === "proxyProtocol") {
      wanted.add(step)
      leads = step === "tls" ? Tls.layer({ ca: authority.certificate }) : ProxyProtocol.layer()
    } else {
      const host = yield* network.host(`${step}-${hosts.length}.test`)
      const tls = wanted.has("tls") ? yield* certify(host.name) : undefined
      leads = yield* Effect.provide(begin[step]({ name: host.name, tls }), host.layer)
      hosts.push(host.name)
      wanted.clear()
    }
    layer = Layer.provide(leads, layer)
  }
  const dialer = Context.get(yield* Layer.build(Layer.provide(layer, Layer.succeedContext(here))), Dialer.Dialer)
  const credentials = yield* certify(target.name)
  const expected = [...hosts, target.name].slice(1).map((host, index) => `${hosts[index]} to ${host}`)
  return {
    layer: Layer.succeed(Dialer.Dialer, dialer),
    target,
    expects: {
      tls: wanted.has("tls") ? credentials : undefined,
      proxyProtocol: wanted.has("proxyProtocol") ? { trusted: ["10.0.0.0/8"] } : undefined
    },
    authority,
    credentials,
    isTravelled: Effect.map(network.connections, (connections) => {
      const links = new Set(connections.map(({ from, to }) => `${from} to ${to}`))
      assert.deepStrictEqual([...links].toSorted(), expected.toSorted())
    })
  }
})

const kinds = ["tls", "socks4", "socks4a", "socks5", "http", "ssh"] as const

const singles: ReadonlyArray<Stack> = kinds.map((kind) => [kind])

/** Each of them over each, itself included; TLS in TLS is `upgradeTls`. */
const pairs: ReadonlyArray<Stack> = kinds.flatMap((first) =>
  kinds.filter((second) => first !== "tls" || second !== "tls").map((second) => [first, second] as const)
)

const unlike = ["tls", "socks5", "http", "ssh"] as const

/** Three that differ in every order, and chains of three of a kind. */
const triples: ReadonlyArray<Stack> = [
  ...unlike.flatMap((first) =>
    unlike.filter((second) => second !== first).flatMap((second) =>
      unlike.filter((third) => third !== first && third !== second).map((third) => [first, second, third] as const)
    )
  ),
  ...(["socks4", "socks5", "http", "ssh"] as const).map((kind) => [kind, kind, kind] as const)
]

/** All of them in one, every proxy spoken to in TLS. */
const longest: Stack = ["tls", "socks5", "tls", "http", "tls", "ssh", "tls", "socks4"]

/** One of each, one of several, and the longest: for what takes time. */
const few: ReadonlyArray<Stack> = [[], ...singles, ["ssh", "tls", "http", "socks5"], longest]

/** Those that add nothing to each byte that comes alone: SSH and TLS make a packet of twenty or forty of it. */
const light: ReadonlyArray<Stack> = [[], ["socks4"], ["socks4a"], ["socks5"], ["http"], ["socks5", "http"]]

const all: ReadonlyArray<Stack> = [[], ...singles, ...pairs, ...triples, longest]

/** Those at whose end there is no TLS, so that a client can begin with it. */
const plain = (ways: ReadonlyArray<Stack>) => ways.filter(([first]) => first !== "tls")

export const stacks = {
  all,
  plain: plain(all),
  few,
  fewPlain: plain(few),
  singles,
  light,
  /** The target is told who the client is: the header comes before TLS. */
  announced: [
    ["proxyProtocol"],
    ["proxyProtocol", "socks5"],
    ["tls", "proxyProtocol"],
    ["tls", "proxyProtocol", "http"],
    ["proxyProtocol", "socks4", "tls", "http"]
  ] satisfies ReadonlyArray<Stack>
}

/** What goes over a way. */
type Traffic = (way: Way) => Effect.Effect<
  unknown,
  unknown,
  Dialer.Dialer | Dns.Dns | Listener.Listener | TestNetwork.TestNetwork | Scope.Scope
>

/** Runs something over a way, in simulated time, on a network of its own. Gives what happened there. */
export const over = (stack: Stack, traffic: Traffic, options?: TestNetwork.NetworkOptions) =>
  TestNetwork.TestNetwork.use((network) =>
    Effect.andThen(network.run(Effect.scoped(Effect.flatMap(make(stack), traffic))), network.events)
  ).pipe(Effect.provide(TestNetwork.layer(options)))

/** Defines a test for each way: it uses nothing of the machine's network and leaves nothing behind. */
export const onStacks = (
  title: string,
  ways: ReadonlyArray<Stack>,
  traffic: Traffic,
  options?: TestNetwork.NetworkOptions
): void => {
  describe(title, () => {
    for (const stack of ways) {
      it.effect(
        `with ${nameOf(stack)}`,
        () => over(stack, traffic, options).pipe(leavesNothing, opensNoPort),
        30_000
      )
    }
  })
}

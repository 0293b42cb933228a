import * as Effect from "effect/Effect"
import * as NetAddress from "effect/net/NetAddress"
import * as Result from "effect/Result"
import { ConfigInvalid } from "../../../errors/SshError.ts"
import { matches } from "../patterns.ts"
import { currentTokens } from "./currentTokens.ts"
import { succeeds } from "./exec.ts"
import { Expansion, given, isVariable } from "./expansion.ts"
import * as Forward from "./forward.ts"
import { defaults, type HostConfig } from "./hostConfig.ts"
import * as Jump from "./jump.ts"
import type { Machine } from "./machine.ts"
import * as Reading from "./reading.ts"
import * as Tokens from "./tokens.ts"

export interface ResolveOptions {
  readonly machine: Machine
  readonly configFile?: string | undefined
  readonly username?: string | undefined
  readonly port?: number | undefined
  /** The servers to go through, whatever the files say. */
  readonly proxyJump?: ReadonlyArray<Jump.Jump> | undefined
  readonly matchExec?: boolean | undefined
}

/** A name in lower case, an address as it is written best. */
const normalized = (host: string): string =>
  Result.match(NetAddress.ipFromString(host), {
    onSuccess: NetAddress.formatIp,
    onFailure: () => host.toLowerCase()
  })

// names and users end up in commands: ssh refuses these letters too
// eslint-disable-next-line no-control-regex
const isSafeHost = (text: string) => text !== "" && !/^-|['`"$\\;&<>|(){},\s\u0000-\u001f\u007f]/.test(text)
// eslint-disable-next-line no-control-regex
const isSafeUser = (text: string) => text !== "" && !/^-|[\u0000-\u001f\u007f'`";&<>|(){}]|\s-|\\$/.test(text)

/** Reads the files, and decides on the host's name. */
const read = Effect.fnUntraced(function*(host: string, options: ResolveOptions) {
  const { machine } = options
  const values: Reading.Values = new Map()
  const set = (name: string, value: string) => values.set(name, { values: [value], place: given })
  if (options.username !== undefined) set("user", options.username)
  if (options.port !== undefined) set("port", `${options.port}`)
  if (options.proxyJump !== undefined) set("proxyjump", Jump.format(options.proxyJump))
  const question: Reading.Question = {
    machine,
    host,
    values,
    forwards: [],
    tokens: () => currentTokens(values, host, machine),
    exec: options.matchExec === true ? (command) => succeeds(command, machine.environment) : undefined
  }
  const { wantsFinal } = yield* Reading.readAll(question, options.configFile)
  const { place = given } = values.get("hostname") ?? {}
  const invalid = (detail: string) => new ConfigInvalid({ ...place, detail })
  const tokens = yield* Effect.mapError(Effect.fromResult(question.tokens()), invalid)
  const hostname = normalized(tokens["h"]!)
  if (!isSafeHost(hostname)) return yield* invalid(`"${hostname}" is no name of a host`)
  // what is expanded once must not be again
  values.set("hostname", { values: [hostname.replaceAll("%", "%%")], place })
  if (wantsFinal) yield* Reading.readAll(question, options.configFile, hostname)
  return question
})

/** Whom to log in as. What the options say, or what tokens have come to, has to be a name; what is written plainly is one. */
const usernameOf = Effect.fnUntraced(function*(written: Expansion, tokens: Tokens.Tokens, options: ResolveOptions) {
  const user = written.first("user")
  if (user === undefined) return options.machine.username
  // its tokens cannot be about itself
  const { C: _hash, r: _user, ...others } = tokens
  const username = options.username ?? (yield* written.text("user", user, others))
  return (options.username === undefined && username === user) || isSafeUser(username)
    ? username
    : yield* written.understood("user", Result.fail(`"${username}" is no name of a user`))
})

const forwardsOf = Effect.fnUntraced(function*(forwards: ReadonlyArray<Reading.PlacedForward>, tokens: Tokens.Tokens) {
  const all = yield* Effect.forEach(
    forwards,
    ({ direction, forward, place }) =>
      Effect.mapBoth(Effect.fromResult(Forward.mapPaths(forward, (path) => Tokens.expandTokens(path, tokens))), {
        onSuccess: (forward) => ({ direction, forward }),
        onFailure: (detail) => new ConfigInvalid({ ...place, detail: `${direction}: ${detail}` })
      })
  )
  const directed = (wanted: Forward.Direction) =>
    all.filter(({ direction }) => direction === wanted).map(({ forward }) => forward)
  return {
    localforward: directed("localforward"),
    remoteforward: directed("remoteforward"),
    dynamicforward: directed("dynamicforward")
  }
})

/** What `SendEnv` takes from the environment, and `SetEnv` puts before it. */
const environmentToSend = (
  send: ReadonlyArray<string>,
  set: ReadonlyArray<string>,
  environment: Tokens.Environment
): Readonly<Record<string, string>> => {
  const sent = Object.entries(environment).filter((entry): entry is [string, string] =>
    entry[1] !== undefined && send.some((pattern) => matches(entry[0], pattern))
  )
  const own = set.map((assignment): [string, string] => {
    const at = assignment.indexOf("=")
    return [assignment.slice(0, at), assignment.slice(at + 1)]
  })
  return Object.fromEntries([...sent, ...own])
}

/** Finds out what the configuration files say about a host. */
export const resolve = Effect.fnUntraced(function*(host: string, options: ResolveOptions) {
  const { machine } = options
  const { forwards, tokens: tokensNow, values } = yield* read(host, options)
  const early = yield* Effect.orDie(Effect.fromResult(tokensNow()))
  const username = yield* usernameOf(new Expansion(machine, values, early), early, options)
  values.set("user", { values: [username], place: values.get("user")?.place ?? given })

  const tokens = yield* Effect.orDie(Effect.fromResult(tokensNow()))
  const written = new Expansion(machine, values, tokens)
  const proxyJump = yield* written.understood("proxyjump", Jump.parse(written.first("proxyjump") ?? "none"))
  const proxyCommand = yield* written.command("proxycommand", ["h", "k", "n", "p", "r"])
  const remoteCommand = yield* written.command("remotecommand")
  const userKnownHostsFiles = yield* written.paths("userknownhostsfile")
  const identityAgent = yield* written.socket("identityagent")
  const forwardAgent = written.first("forwardagent")
  const isPlain = forwardAgent === "yes" || forwardAgent === "no"
  const forwardedAgent = isPlain ? undefined : yield* written.socket("forwardagent")
  const directed = yield* forwardsOf(written.first("clearallforwardings") === "yes" ? [] : forwards, tokens)

  const printed = new Map(Object.entries(defaults))
  for (const [keyword, known] of values) printed.set(keyword, known.values)
  const print = (keyword: string, value: ReadonlyArray<string | undefined>) => {
    const values = value.filter((value) => value !== undefined)
    if (values.length === 0) printed.delete(keyword)
    else printed.set(keyword, values)
  }
  print("host", [host])
  print("hostname", [tokens["h"]])
  print("proxycommand", [written.unlessNone("proxycommand")])
  print("proxyjump", proxyJump.length === 0 ? [] : [Jump.format(proxyJump)])
  print("remotecommand", [remoteCommand])
  print("userknownhostsfile", userKnownHostsFiles.length === 0 ? ["none"] : userKnownHostsFiles)
  for (const keyword of ["identityagent", "forwardagent"]) {
    const named = written.first(keyword)
    if (named !== undefined && !isVariable(named)) print(keyword, [yield* written.path(keyword, named)])
  }
  for (const direction of Forward.directions) {
    print(direction, directed[direction].map((forward) => Forward.format(direction, forward)))
  }

  const config: HostConfig = {
    host,
    hostname: tokens["h"]!,
    port: Number(tokens["p"]),
    username,
    proxyJump,
    proxyCommand,
    identityFiles: yield* written.paths("identityfile"),
    certificateFiles: yield* written.paths("certificatefile"),
    identityAgent,
    forwardedAgent: forwardAgent === "yes" ? identityAgent : forwardedAgent,
    userKnownHostsFiles,
    globalKnownHostsFiles: yield* written.paths("globalknownhostsfile"),
    revokedHostKeys: yield* written.paths("revokedhostkeys"),
    env: environmentToSend(written.all("sendenv"), written.all("setenv"), machine.environment),
    localForwards: directed.localforward,
    remoteForwards: directed.remoteforward,
    dynamicForwards: directed.dynamicforward,
    values: Object.fromEntries(printed),
    placeOf: (keyword) => {
      const place = values.get(keyword)?.place
      return place === given ? undefined : place
    }
  }
  return config
})

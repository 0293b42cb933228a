import * as Effect from "effect/Effect"
import * as NetAddress from "effect/net/NetAddress"
import * as Result from "effect/Result"
import * as Crypto from "node:crypto"
import { ConfigInvalid } from "../../../errors/SshError.ts"
import { succeeds } from "./exec.ts"
import * as Forward from "./forward.ts"
import * as Jump from "./jump.ts"
import type { Machine } from "./machine.ts"
import { matches } from "./patterns.ts"
import * as Reading from "./reading.ts"
import * as Tokens from "./tokens.ts"

/** What the configuration files say about a host. */
export interface HostConfig {
  /** The host as it was asked for. */
  readonly host: string
  /** What is dialled (`HostName`). */
  readonly hostname: string
  readonly port: number
  readonly username: string
  /** The servers to go through, the first one first; none where `ProxyJump` is `none` or not there. */
  readonly proxyJump: ReadonlyArray<Jump.Jump>
  /** The command whose input and output are the connection, with its tokens replaced. */
  readonly proxyCommand: string | undefined
  /** Paths of private keys, those that ssh looks for where none are given among them. */
  readonly identityFiles: ReadonlyArray<string>
  readonly certificateFiles: ReadonlyArray<string>
  /** The path of the agent's socket; none where `IdentityAgent` is `none`, or there is no agent. */
  readonly identityAgent: string | undefined
  /** The path of the socket of the agent that the server may use (`ForwardAgent`). */
  readonly forwardedAgent: string | undefined
  readonly userKnownHostsFiles: ReadonlyArray<string>
  readonly globalKnownHostsFiles: ReadonlyArray<string>
  readonly revokedHostKeys: ReadonlyArray<string>
  /** The variables that `SendEnv` and `SetEnv` have the server set. */
  readonly env: Readonly<Record<string, string>>
  readonly localForwards: ReadonlyArray<Forward.Forward>
  readonly remoteForwards: ReadonlyArray<Forward.Forward>
  readonly dynamicForwards: ReadonlyArray<Forward.Forward>
  /**
   * All keywords, in lower case, with their values, as `ssh -G` prints them; a flag is `yes` or `no`, and a list of algorithms
   * is as it is written.
   */
  readonly values: Readonly<Record<string, ReadonlyArray<string>>>
  /** Where a keyword is written; none where its value is a default. */
  readonly placeOf: (keyword: string) => Reading.Place | undefined
}

export interface ResolveOptions {
  readonly machine: Machine
  readonly configFile?: string | undefined
  readonly username?: string | undefined
  readonly port?: number | undefined
  /** The servers to go through, whatever the files say. */
  readonly proxyJump?: ReadonlyArray<Jump.Jump> | undefined
  readonly matchExec?: boolean | undefined
}

const defaultIdentities = ["rsa", "ecdsa", "ecdsa_sk", "ed25519", "ed25519_sk", "xmss", "dsa"]

/** The values of what is not written, for what means something here. */
const defaults: Readonly<Record<string, ReadonlyArray<string>>> = {
  batchmode: ["no"],
  canonicalizehostname: ["no"],
  clearallforwardings: ["no"],
  compression: ["no"],
  connectionattempts: ["1"],
  connecttimeout: ["none"],
  exitonforwardfailure: ["no"],
  forwardagent: ["no"],
  globalknownhostsfile: ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"],
  hashknownhosts: ["no"],
  identitiesonly: ["no"],
  identityfile: defaultIdentities.map((type) => `~/.ssh/id_${type}`),
  kbdinteractiveauthentication: ["yes"],
  numberofpasswordprompts: ["3"],
  passwordauthentication: ["yes"],
  port: ["22"],
  proxyusefdpass: ["no"],
  pubkeyauthentication: ["yes"],
  rekeylimit: ["0", "0"],
  requesttty: ["auto"],
  serveralivecountmax: ["3"],
  serveraliveinterval: ["0"],
  sessiontype: ["default"],
  stricthostkeychecking: ["ask"],
  userknownhostsfile: ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"]
}

const given: Reading.Place = { file: "the options", line: 0 }

/** A name in lower case, an address as it is written best. */
const normalized = (host: string): string =>
  Result.match(NetAddress.ipFromString(host), {
    onSuccess: NetAddress.formatIp,
    onFailure: () => host.toLowerCase()
  })

const digestOf = (parts: ReadonlyArray<string>) => Crypto.createHash("sha1").update(parts.join("")).digest("hex")

/** What the tokens stand for, at any time: what is not known yet has its default. */
const tokensFor = (values: Reading.Values, host: string, machine: Machine): Result.Result<Tokens.Tokens, string> => {
  const now = (name: string) => values.get(name)?.values[0]
  return Result.map(Tokens.expandTokens(now("hostname") ?? host, { h: host }), (hostname) => {
    const port = now("port") ?? "22"
    const username = now("user") ?? machine.username
    const jump = Result.getOrElse(Jump.parse(now("proxyjump") ?? "none"), () => []).at(-1)?.host ?? ""
    return {
      C: digestOf([machine.hostname, hostname, port, username, jump]),
      L: machine.hostname.split(".")[0]!,
      d: machine.home,
      h: hostname,
      i: `${machine.uid}`,
      j: jump,
      k: now("hostkeyalias") ?? host,
      l: machine.hostname,
      n: host,
      p: port,
      r: username,
      u: machine.username
    }
  })
}

// names and users end up in commands: ssh refuses these letters too
// eslint-disable-next-line no-control-regex
const isSafeHost = (text: string) => text !== "" && !/^-|['`"$\\;&<>|(){},\s\u0000-\u001f\u007f]/.test(text)
// eslint-disable-next-line no-control-regex
const isSafeUser = (text: string) => text !== "" && !/^-|[\u0000-\u001f\u007f'`";&<>|(){}]|\s-|\\$/.test(text)

/** `$NAME`, an older way to write `${NAME}`. */
const isVariable = (text: string) => /^\$(?!\{)/.test(text)

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
    tokens: () => tokensFor(values, host, machine),
    exec: options.matchExec === true ? (command) => succeeds(command, machine.environment) : undefined
  }
  const { wantsFinal } = yield* Reading.readAll(question, options.configFile, false)
  const { place = given } = values.get("hostname") ?? {}
  const invalid = (detail: string) => new ConfigInvalid({ ...place, detail })
  const tokens = yield* Effect.mapError(Effect.fromResult(question.tokens()), invalid)
  const hostname = normalized(tokens["h"]!)
  if (!isSafeHost(hostname)) return yield* invalid(`"${hostname}" is no name of a host`)
  // what is expanded once must not be again
  values.set("hostname", { values: [hostname.replaceAll("%", "%%")], place })
  if (wantsFinal) yield* Reading.readAll(question, options.configFile, true)
  return question
})

/** Finds out what the configuration files say about a host. */
export const resolve = Effect.fnUntraced(function*(host: string, options: ResolveOptions) {
  const { machine } = options
  const { forwards, tokens: nowTokens, values } = yield* read(host, options)
  const placeOf = (keyword: string) => {
    const place = values.get(keyword)?.place
    return place === given ? undefined : place
  }
  const at = <A>(keyword: string, result: Result.Result<A, string>) =>
    Effect.mapError(
      Effect.fromResult(result),
      (detail) => new ConfigInvalid({ ...(values.get(keyword)?.place ?? given), detail: `${keyword}: ${detail}` })
    )
  const written = (keyword: string) => values.get(keyword)?.values ?? defaults[keyword] ?? []
  const first = (keyword: string) => written(keyword)[0]
  const unlessNone = (keyword: string) => {
    const value = first(keyword)
    return value?.toLowerCase() === "none" ? undefined : value
  }

  const user = first("user")
  const { C: _hash, r: _user, ...beforeUser } = yield* at("hostname", nowTokens())
  const username = user === undefined || options.username !== undefined
    ? user ?? machine.username
    : yield* at("user", Tokens.expand(user, beforeUser, machine.environment))
  if (user !== undefined && (username !== user || options.username !== undefined) && !isSafeUser(username)) {
    return yield* at("user", Result.fail(`"${username}" is no name of a user`))
  }
  values.set("user", { values: [username], place: values.get("user")?.place ?? given })
  const tokens = yield* at("hostname", nowTokens())

  const withTokens = (text: string) => Tokens.expandTokens(text, tokens)
  const path = (text: string) =>
    Result.flatMap(Tokens.expandHome(text, machine), (path) => Tokens.expand(path, tokens, machine.environment))
  const paths = (keyword: string) =>
    Effect.forEach(written(keyword).filter((one) => one.toLowerCase() !== "none"), (one) => at(keyword, path(one)))

  const cleared = first("clearallforwardings") === "yes"
  const expanded = yield* Effect.forEach(
    cleared ? [] : forwards,
    ({ direction, forward, place }) =>
      Effect.mapBoth(Effect.fromResult(Forward.mapPaths(forward, withTokens)), {
        onSuccess: (forward) => ({ direction, forward }),
        onFailure: (detail) => new ConfigInvalid({ ...place, detail: `${direction}: ${detail}` })
      })
  )
  const directed = (wanted: Forward.Direction) =>
    expanded.filter(({ direction }) => direction === wanted).map(({ forward }) => forward)

  const command = (keyword: string, allowed: ReadonlyArray<string>) => {
    const text = unlessNone(keyword)
    if (text === undefined) return Effect.succeed(undefined)
    return at(keyword, Tokens.expandTokens(text, Object.fromEntries(allowed.map((key) => [key, tokens[key]!]))))
  }
  const proxyJump = yield* at("proxyjump", Jump.parse(first("proxyjump") ?? "none"))
  const userKnownHostsFiles = yield* paths("userknownhostsfile")
  const remoteCommand = yield* command("remotecommand", Object.keys(tokens))
  const socket = (keyword: string, named: string | undefined) => {
    if (named === undefined || named === "SSH_AUTH_SOCK" || named === "yes") {
      return Effect.succeed(machine.environment["SSH_AUTH_SOCK"])
    }
    if (named.toLowerCase() === "none" || named === "no") return Effect.succeed(undefined)
    return isVariable(named) ? Effect.succeed(machine.environment[named.slice(1)]) : at(keyword, path(named))
  }
  const identityAgent = yield* socket("identityagent", first("identityagent"))
  const forwardAgent = first("forwardagent")
  const forwardedAgent = forwardAgent === "yes" ? identityAgent : yield* socket("forwardagent", forwardAgent)

  const all: Record<string, ReadonlyArray<string>> = { ...defaults }
  for (const [keyword, known] of values) all[keyword] = known.values
  for (const direction of ["localforward", "remoteforward", "dynamicforward"] as const) {
    const some = directed(direction)
    if (some.length > 0) all[direction] = some.map((forward) => Forward.format(direction, forward))
  }
  const replace = (keyword: string, value: ReadonlyArray<string> | undefined) => {
    if (value === undefined) delete all[keyword]
    else all[keyword] = value
  }
  all["host"] = [host]
  all["hostname"] = [tokens["h"]!]
  for (const keyword of ["identityagent", "forwardagent"]) {
    const named = first(keyword)
    if (named !== undefined && !isVariable(named)) all[keyword] = [yield* at(keyword, path(named))]
  }
  replace("remotecommand", remoteCommand === undefined ? undefined : [remoteCommand])
  replace("proxycommand", unlessNone("proxycommand") === undefined ? undefined : [unlessNone("proxycommand")!])
  replace("proxyjump", proxyJump.length === 0 ? undefined : [Jump.format(proxyJump)])
  replace("userknownhostsfile", userKnownHostsFiles.length === 0 ? ["none"] : userKnownHostsFiles)

  const config: HostConfig = {
    host,
    hostname: tokens["h"]!,
    port: Number(tokens["p"]!),
    username,
    proxyJump,
    proxyCommand: yield* command("proxycommand", ["h", "k", "n", "p", "r"]),
    identityFiles: yield* paths("identityfile"),
    certificateFiles: yield* paths("certificatefile"),
    identityAgent,
    forwardedAgent,
    userKnownHostsFiles,
    globalKnownHostsFiles: yield* paths("globalknownhostsfile"),
    revokedHostKeys: yield* paths("revokedhostkeys"),
    env: environmentToSend(written("sendenv"), written("setenv"), machine.environment),
    localForwards: directed("localforward"),
    remoteForwards: directed("remoteforward"),
    dynamicForwards: directed("dynamicforward"),
    values: all,
    placeOf
  }
  return config
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

import * as Effect from "effect/Effect"
import * as IpNetwork from "effect/net/IpNetwork"
import * as NetAddress from "effect/net/NetAddress"
import * as Result from "effect/Result"
import * as Os from "node:os"
import { matchesList } from "../patterns.ts"

/** What the conditions of a `Match` line are about. */
export interface Subject {
  /** The name as it stands now, and as it was asked for. */
  readonly host: string
  readonly originalHost: string
  readonly username: string
  readonly localUsername: string
  readonly tag: string
  /** Whether the files are read for the second time. */
  readonly final: boolean
  /** Runs a command and says whether it succeeded; without it neither `exec` nor `!exec` holds. */
  readonly exec: ((command: string) => Effect.Effect<boolean, string>) | undefined
}

/** What a `Match` line comes to. */
export interface Verdict {
  readonly matched: boolean
  /** Whether it asks for the files to be read a second time. */
  readonly wantsFinal: boolean
}

/** Whether an address of this machine is in one of the networks. */
const isInNetworks = (list: string): Result.Result<boolean, string> => {
  const networks = list.split(",").map((network) =>
    IpNetwork.fromString(network.includes("/") ? network : `${network}/${network.includes(":") ? 128 : 32}`)
  )
  const bad = networks.find(Result.isFailure)
  if (bad !== undefined) return Result.fail(`"${list}" is no list of networks`)
  const addresses = Object.values(Os.networkInterfaces()).flatMap((addresses) => addresses ?? []).map(({ address }) =>
    NetAddress.ipFromString(address)
  )
  return Result.succeed(
    addresses.some((address) =>
      Result.isSuccess(address) &&
      networks.some((network) => Result.isSuccess(network) && IpNetwork.contains(network.success, address.success))
    )
  )
}

/** Whether a condition holds; none where neither it nor its contrary does. */
type Criterion = (argument: string, subject: Subject) => Effect.Effect<boolean | undefined, string>

const onText = (textOf: (subject: Subject) => string): Criterion => (argument, subject) =>
  Effect.succeed(matchesList(textOf(subject), argument))

const onHost = (hostOf: (subject: Subject) => string): Criterion => (argument, subject) =>
  Effect.succeed(matchesList(hostOf(subject).toLowerCase(), argument.toLowerCase()))

const neither: Effect.Effect<undefined> = Effect.undefined

const criteria: ReadonlyMap<string, Criterion> = new Map<string, Criterion>([
  ["host", onHost(({ host }) => host)],
  ["originalhost", onHost(({ originalHost }) => originalHost)],
  ["user", onText(({ username }) => username)],
  ["localuser", onText(({ localUsername }) => localUsername)],
  ["tagged", (argument, { tag }) => Effect.succeed(tag === "" ? argument === "" : matchesList(tag, argument))],
  ["localnetwork", (argument) => Effect.fromResult(isInNetworks(argument))],
  ["exec", (argument, { exec }) => exec?.(argument) ?? neither],
  // they are about what the ssh program does, which has no counterpart here
  ["command", () => neither],
  ["sessiontype", () => neither],
  ["version", () => neither]
])

/** Splits `user=bob`, which is also written `user bob`. */
const attribute = (word: string): readonly [negated: boolean, name: string, argument: string | undefined] => {
  const [, not, name = "", argument] = /^(!?)([^=]*)(?:=(.*))?$/s.exec(word) ?? []
  return [not === "!", name.toLowerCase(), argument]
}

/** Decides on a `Match` line: all of its conditions have to hold. */
export const evaluate = Effect.fnUntraced(function*(words: ReadonlyArray<string>, subject: Subject) {
  let matched = true
  let wantsFinal = false
  let count = 0
  for (let at = 0; at < words.length; at++) {
    const [negated, name, attached] = attribute(words[at]!)
    if (name === "all") {
      // `final` and `canonical` may stand before it
      if (count > 1 || at + 1 < words.length) return yield* Effect.fail("\"all\" goes with no other condition")
      return { matched: matched && !negated, wantsFinal }
    }
    count++
    if (name === "final" || name === "canonical") {
      wantsFinal ||= name === "final" && !negated
      matched &&= subject.final !== negated
      continue
    }
    const argument = attached ?? words[++at]
    if (argument === undefined || (argument === "" && name !== "tagged" && name !== "command")) {
      return yield* Effect.fail(`"${name}" needs an argument`)
    }
    const criterion = criteria.get(name)
    if (criterion === undefined) return yield* Effect.fail(`"${name}" is no condition`)
    matched &&= (yield* criterion(argument, subject)) === !negated
  }
  if (count === 0) return yield* Effect.fail("a condition is missing")
  const verdict: Verdict = { matched, wantsFinal }
  return verdict
})

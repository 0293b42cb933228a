import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { ConfigInvalid } from "../../../errors/SshError.ts"
import { matches, matchesAny, matchesList } from "../patterns.ts"
import * as Files from "./files.ts"
import * as Forward from "./forward.ts"
import * as Keywords from "./keywords.ts"
import * as Line from "./line.ts"
import type { Machine } from "./machine.ts"
import * as Match from "./match.ts"
import * as Tokens from "./tokens.ts"

/** Where something is written. */
export interface Place {
  readonly file: string
  readonly line: number
}

/** What is known of a keyword: its values as `ssh -G` prints them, and where the first of them is written. */
export interface Known {
  readonly values: ReadonlyArray<string>
  readonly place: Place
}

/** Everything that applies to one host, as far as it has been read. */
export type Values = Map<string, Known>

/** A forwarding, and where it is written. */
export interface PlacedForward {
  readonly direction: Forward.Direction
  readonly forward: Forward.Forward
  readonly place: Place
}

/** What the files are read for. */
export interface Question {
  readonly machine: Machine
  /** The host as it was asked for. */
  readonly host: string
  /** The tokens as they stand now. */
  readonly tokens: () => Result.Result<Tokens.Tokens, string>
  /** Runs what `Match exec` names; without it such conditions do not hold. */
  readonly exec: ((command: string) => Effect.Effect<boolean, string>) | undefined
  readonly values: Values
  readonly forwards: Array<PlacedForward>
}

/** How one file is read. */
interface Reading {
  /** Whether it is the user's, and not that of the whole system. */
  readonly isUsers: boolean
  /** Whether a file that others can write to is refused. */
  readonly checked: boolean
  /** Whether it applies where it begins; a file that is included where nothing applies is only checked for mistakes. */
  readonly active: boolean
  readonly depth: number
  /** What `Host` is about: the host as it was asked for, and its own name where that has been found out. */
  readonly host: string
  /** Whether it is read for the second time. */
  readonly final: boolean
}

const maxDepth = 16

const invalid = (place: Place) => (detail: string) => new ConfigInvalid({ ...place, detail })

/** `SendEnv -NAME` takes back what is there. */
const sendMore = (known: ReadonlyArray<string>, words: ReadonlyArray<string>): ReadonlyArray<string> => {
  let all = [...known]
  for (const word of words) {
    if (word.startsWith("-")) all = all.filter((one) => !matches(one, word.slice(1)))
    else all.push(word)
  }
  return all
}

/** Adds what a line says to what is known. */
const add = (
  values: Values,
  { every, name }: { readonly every: boolean; readonly name: string },
  more: Known
): void => {
  if (more.values.length === 0) return
  const known = values.get(name)
  // the first of these two decides about both, except for a ProxyJump that is none
  const taken = name === "proxyjump"
    ? values.has("proxycommand")
    : name === "proxycommand" && (values.get("proxyjump")?.values[0] ?? "none") !== "none"
  if (taken || (known !== undefined && !every)) return
  if (known === undefined && name !== "sendenv") return void values.set(name, more)
  const before = known?.values ?? []
  const after = name === "sendenv"
    ? sendMore(before, more.values)
    : [...before, ...more.values.filter((value) => !before.includes(value))]
  if (after.length === 0) return void values.delete(name)
  values.set(name, { values: after, place: known?.place ?? more.place })
}

const addForward = (forwards: Array<PlacedForward>, more: PlacedForward): void => {
  const isSame = ({ direction, forward }: PlacedForward) =>
    direction === more.direction && Forward.format(direction, forward) === Forward.format(direction, more.forward)
  if (!forwards.some(isSame)) forwards.push(more)
}

const matchSubject = (question: Question, final: boolean): Match.Subject => {
  const now = (name: string) => question.values.get(name)?.values[0]
  const { exec, host, machine } = question
  return {
    host: Result.getOrElse(Result.map(question.tokens(), ({ h = host }) => h), () => host),
    originalHost: host,
    username: now("user") ?? machine.username,
    localUsername: machine.username,
    tag: now("tag") ?? "",
    final,
    exec: exec === undefined
      ? undefined
      : (command) =>
        Effect.flatMap(
          Effect.fromResult(Result.flatMap(question.tokens(), (tokens) => Tokens.expandTokens(command, tokens))),
          exec
        )
  }
}

/** Finds the files that an `Include` names. */
const included = Effect.fnUntraced(function*(word: string, question: Question, isUsers: boolean) {
  const { machine } = question
  const expanded = yield* Effect.fromResult(
    Result.flatMap(question.tokens(), (tokens) => Tokens.expand(word, tokens, machine.environment))
  )
  if (expanded === "") return yield* Effect.fail("a word is empty")
  if (expanded.startsWith("~") && !isUsers) {
    return yield* Effect.fail("\"~\" means nothing in the file of the whole system")
  }
  const isAnchored = expanded.startsWith("/") || expanded.startsWith("~") || /^[a-z]:[\\/]/i.test(expanded)
  const anchored = isAnchored ? expanded : `${isUsers ? "~/.ssh" : machine.systemFolder}/${expanded}`
  const pattern = yield* Effect.fromResult(Tokens.expandHome(anchored, machine))
  return yield* Effect.mapError(Files.glob(pattern), ({ code }) => `cannot look for "${pattern}" (${code})`)
})

/** Reads a file and what it includes. Gives whether something in it wants to be read a second time. */
const readFile: (
  file: string,
  question: Question,
  reading: Reading
) => Effect.Effect<{ readonly wantsFinal: boolean }, ConfigInvalid> = Effect.fnUntraced(
  function*(file, question, reading) {
    const wrong = invalid({ file, line: 0 })
    if (reading.depth > maxDepth) return yield* wrong("files include each other too deeply")
    const unreadable = Effect.mapError(({ code }: { readonly code: string }) => wrong(`it cannot be read (${code})`))
    if (reading.checked && (yield* unreadable(Files.isOpenToOthers(file, question.machine.uid)))) {
      return yield* wrong("others than its user can write to it")
    }
    const text = yield* unreadable(Files.read(file))
    let active = reading.active
    let wantsFinal = false
    let number = 0
    for (const source of text.split("\n")) {
      const place = { file, line: ++number }
      const fail = Effect.mapError(invalid(place))
      const line = yield* fail(Effect.fromResult(Line.parse(source)))
      if (line === undefined) continue
      const { keyword, words } = line
      if (keyword === "host") {
        if (words.includes("")) return yield* invalid(place)("a word is empty")
        active = reading.active && matchesAny(reading.host, words)
        continue
      }
      if (keyword === "match") {
        const verdict = yield* fail(Match.evaluate(words, matchSubject(question, reading.final)))
        active = reading.active && verdict.matched
        wantsFinal ||= verdict.wantsFinal
        continue
      }
      if (keyword === "include") {
        for (const word of words) {
          for (const path of yield* fail(included(word, question, reading.isUsers))) {
            const inner = { ...reading, active, checked: true, depth: reading.depth + 1 }
            wantsFinal = (yield* readIfThere(path, question, inner)).wantsFinal || wantsFinal
          }
        }
        continue
      }
      if (Forward.isDirection(keyword)) {
        const forward = yield* fail(Effect.fromResult(Forward.parse(keyword, words, question.machine.environment)))
        if (active) addForward(question.forwards, { direction: keyword, forward, place })
        continue
      }
      const known = Keywords.find(keyword)
      if (known === "ignored") continue
      if (known === undefined) {
        const ignored = question.values.get("ignoreunknown")?.values[0] ?? ""
        if (matchesList(keyword, ignored.toLowerCase())) continue
        return yield* invalid(place)(`"${keyword}" is no keyword`)
      }
      const parsed = Result.mapError(known.parse(line), (detail) => `${keyword}: ${detail}`)
      const values = yield* fail(Effect.fromResult(parsed))
      if (active) add(question.values, known, { values, place })
    }
    return { wantsFinal }
  }
)

const readIfThere = (file: string, question: Question, reading: Reading) =>
  Effect.flatMap(
    Files.isThere(file),
    (isThere) => isThere ? readFile(file, question, reading) : Effect.succeed({ wantsFinal: false })
  )

/**
 * Reads the given file, or else the user's and that of the whole system; for the second time where the host's own name has
 * been found out.
 */
export const readAll = Effect.fnUntraced(function*(question: Question, configFile?: string, hostname?: string) {
  const start = { active: true, depth: 0, host: hostname ?? question.host, final: hostname !== undefined }
  const { machine } = question
  if (configFile !== undefined) {
    const file = Result.getOrElse(Tokens.expandHome(configFile, machine), () => configFile)
    return yield* readFile(file, question, { ...start, isUsers: true, checked: false })
  }
  const users = yield* readIfThere(`${machine.home}/.ssh/config`, question, { ...start, isUsers: true, checked: true })
  const systems = yield* readIfThere(machine.systemFile, question, { ...start, isUsers: false, checked: false })
  return { wantsFinal: users.wantsFinal || systems.wantsFinal }
})

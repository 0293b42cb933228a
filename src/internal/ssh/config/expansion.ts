import * as Effect from "effect/Effect"
import type * as Result from "effect/Result"
import { ConfigInvalid } from "../../../errors/SshError.ts"
import { defaults } from "./hostConfig.ts"
import type { Machine } from "./machine.ts"
import type { Place, Values } from "./reading.ts"
import * as Tokens from "./tokens.ts"

/** Where values come from that are in no file. */
export const given: Place = { file: "the options", line: 0 }

/** `$NAME`, an older way to write `${NAME}`. */
export const isVariable = (text: string): boolean => /^\$(?!\{)/.test(text)

const isNone = (text: string) => text.toLowerCase() === "none"

/** What is written for a host, and what it comes to when its tokens are replaced. Knows where mistakes are. */
export class Expansion {
  private readonly machine: Machine
  private readonly values: Values
  private readonly tokens: Tokens.Tokens

  constructor(machine: Machine, values: Values, tokens: Tokens.Tokens) {
    this.machine = machine
    this.values = values
    this.tokens = tokens
  }

  /** The values of a keyword as they are written, or its defaults. */
  all(keyword: string): ReadonlyArray<string> {
    return this.values.get(keyword)?.values ?? defaults[keyword] ?? []
  }

  first(keyword: string): string | undefined {
    return this.all(keyword)[0]
  }

  unlessNone(keyword: string): string | undefined {
    const value = this.first(keyword)
    return value === undefined || isNone(value) ? undefined : value
  }

  /** Fails with the place of the keyword. */
  understood<A>(keyword: string, result: Result.Result<A, string>): Effect.Effect<A, ConfigInvalid> {
    const { place = given } = this.values.get(keyword) ?? {}
    return Effect.mapError(
      Effect.fromResult(result),
      (detail) => new ConfigInvalid({ ...place, detail: `${keyword}: ${detail}` })
    )
  }

  /** A text with tokens and variables. */
  text(keyword: string, text: string, tokens: Tokens.Tokens = this.tokens): Effect.Effect<string, ConfigInvalid> {
    return this.understood(keyword, Tokens.expand(text, tokens, this.machine.environment))
  }

  /** A path: `~`, tokens and variables. */
  path(keyword: string, path: string): Effect.Effect<string, ConfigInvalid> {
    return Effect.flatMap(
      this.understood(keyword, Tokens.expandHome(path, this.machine)),
      (path) => this.text(keyword, path)
    )
  }

  paths(keyword: string): Effect.Effect<ReadonlyArray<string>, ConfigInvalid> {
    return Effect.forEach(this.all(keyword).filter((path) => !isNone(path)), (path) => this.path(keyword, path))
  }

  /** A command, in which only tokens are replaced, all or some. */
  command(keyword: string, allowed: ReadonlyArray<string> = Object.keys(this.tokens)) {
    const text = this.unlessNone(keyword)
    if (text === undefined) return Effect.undefined
    const tokens = Object.fromEntries(Object.entries(this.tokens).filter(([key]) => allowed.includes(key)))
    return this.understood(keyword, Tokens.expandTokens(text, tokens))
  }

  /** The socket of an agent: the usual one, none, that of another variable, or a path. */
  socket(keyword: string): Effect.Effect<string | undefined, ConfigInvalid> {
    const named = this.first(keyword) ?? "SSH_AUTH_SOCK"
    const variable = named === "SSH_AUTH_SOCK" ? named : isVariable(named) ? named.slice(1) : undefined
    if (variable !== undefined) return Effect.succeed(this.machine.environment[variable])
    return isNone(named) ? Effect.undefined : this.path(keyword, named)
  }
}

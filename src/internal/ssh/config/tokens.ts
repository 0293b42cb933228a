import * as Result from "effect/Result"

/** What the tokens of a text stand for: `h` for `%h`, and so on. */
export type Tokens = Readonly<Record<string, string>>

/** The variables that `${NAME}` stands for. */
export type Environment = Readonly<Record<string, string | undefined>>

const get = (from: Environment, key: string) => Object.hasOwn(from, key) ? from[key] : undefined

const variable = /\$\{([^}]*)\}/g

/** Replaces `${NAME}` by what the environment holds. */
export const expandVariables = (
  text: string,
  environment: Environment
): Result.Result<string, string> => {
  let problem: string | undefined
  const expanded = text.replaceAll(variable, (_all, name: string) => {
    const value = get(environment, name)
    if (value === undefined) problem ??= `the environment has no "${name}"`
    return value ?? ""
  })
  if (text.replaceAll(variable, "").includes("${")) problem ??= `a "\${" is not closed`
  return problem === undefined ? Result.succeed(expanded) : Result.fail(problem)
}

/** Replaces `%h` and the like, and `%%` by `%`. */
export const expandTokens = (text: string, tokens: Tokens): Result.Result<string, string> => {
  let problem: string | undefined
  const expanded = text.replaceAll(/%(.?)/gsu, (all, key: string) => {
    if (key === "%") return "%"
    const value = get(tokens, key)
    if (value === undefined) problem ??= key === "" ? "a \"%\" stands at the end" : `"${all}" stands for nothing here`
    return value ?? ""
  })
  return problem === undefined ? Result.succeed(expanded) : Result.fail(problem)
}

/** Both in one go, so that neither looks at what the other brought in. */
export const expand = (
  text: string,
  tokens: Tokens,
  environment: Environment
): Result.Result<string, string> => {
  const parts: Array<string> = []
  let from = 0
  for (const found of text.matchAll(variable)) {
    const before = expandTokens(text.slice(from, found.index), tokens)
    const value = expandVariables(found[0], environment)
    if (Result.isFailure(before)) return before
    if (Result.isFailure(value)) return value
    parts.push(before.success, value.success)
    from = found.index + found[0].length
  }
  const rest = text.slice(from)
  if (rest.includes("${")) return Result.fail(`a "\${" is not closed`)
  return Result.map(expandTokens(rest, tokens), (last) => parts.join("") + last)
}

/** Makes a path that begins with `~` absolute. Only the user's own folder is known. */
export const expandHome = (
  path: string,
  { home, username }: { readonly home: string; readonly username: string }
): Result.Result<string, string> => {
  const [, name, rest] = /^~([^/]*)\/*(.*)$/s.exec(path) ?? []
  if (name === undefined) return Result.succeed(path)
  if (name !== "" && name !== username) return Result.fail(`the home folder of "${name}" is not known`)
  return Result.succeed(`${home}${home.endsWith("/") ? "" : "/"}${rest}`)
}

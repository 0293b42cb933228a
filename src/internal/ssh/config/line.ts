import * as Result from "effect/Result"

/** A line that says something. */
export interface Line {
  /** In lower case. */
  readonly keyword: string
  /** What follows, as it is written: commands are taken so, with their quotes. */
  readonly rest: string
  /** What follows, in words and without quotes. */
  readonly words: ReadonlyArray<string>
}

const afterBlanks = (text: string, at: number): number => {
  while (" \t\r\n".includes(text.charAt(at)) && at < text.length) at++
  return at
}

/** Cuts the keyword off: it ends at a blank or at one `=`, and may stand in quotes. */
const cutKeyword = (text: string): { readonly keyword: string; readonly rest: string } | undefined => {
  const end = text.search(/[ \t\r\n"=]/)
  if (end < 0) return { keyword: text, rest: "" }
  if (text[end] === "\"") {
    const close = text.indexOf("\"", end + 1)
    if (close < 0) return undefined
    return {
      keyword: text.slice(0, end) + text.slice(end + 1, close),
      rest: text.slice(afterBlanks(text, close + 1))
    }
  }
  const next = afterBlanks(text, end + 1)
  const skipEquals = text[end] !== "=" && text[next] === "="
  return { keyword: text.slice(0, end), rest: text.slice(skipEquals ? afterBlanks(text, next + 1) : next) }
}

/** Words as ssh splits them, which is not quite as a shell does: `\` quotes itself, quotes and, outside of those, a space. */
const splitWords = (text: string): Result.Result<ReadonlyArray<string>, string> => {
  const words: Array<string> = []
  let at = 0
  while (at < text.length) {
    if (text[at] === " " || text[at] === "\t") {
      at++
      continue
    }
    if (text[at] === "#") break
    let word = ""
    let quote = ""
    for (; at < text.length; at++) {
      const char = text[at]!
      const next = text.charAt(at + 1)
      if (char === "\\" && (next === "'" || next === "\"" || next === "\\" || (quote === "" && next === " "))) {
        word += next
        at++
      } else if (quote === "" && (char === " " || char === "\t")) {
        break
      } else if (quote === "" && (char === "\"" || char === "'")) {
        quote = char
      } else if (quote === char) {
        quote = ""
      } else {
        word += char
      }
    }
    if (quote !== "") return Result.fail("a quote is not closed")
    words.push(word)
  }
  return Result.succeed(words)
}

/** Understands a line of a file; none where it says nothing. */
export const parse = (text: string): Result.Result<Line | undefined, string> => {
  let end = text.length
  while (end > 1 && " \t\r\n\f".includes(text[end - 1]!)) end--
  const trimmed = text.slice(0, end)
  let cut = cutKeyword(trimmed)
  // what stood before the first blank of an indented line
  if (cut?.keyword === "") cut = cutKeyword(cut.rest)
  if (cut === undefined || cut.keyword === "" || cut.keyword.startsWith("#")) return Result.succeed(undefined)
  const keyword = cut.keyword.toLowerCase()
  const rest = cut.rest.slice(afterBlanks(cut.rest, 0))
  if (rest === "") return Result.fail(`nothing follows "${keyword}"`)
  return Result.map(splitWords(rest), (words) => ({ keyword, rest, words }))
}

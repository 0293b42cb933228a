/** Whether a text matches a pattern in which `*` is any text and `?` any one character. Takes no more than their product. */
export const matches = (text: string, pattern: string): boolean => {
  let at = 0
  let inPattern = 0
  let star = -1
  let resume = 0
  while (at < text.length) {
    const expected = pattern[inPattern]
    if (expected === "*") {
      star = inPattern++
      resume = at
    } else if (expected === "?" || (expected !== undefined && expected === text[at])) {
      inPattern++
      at++
    } else if (star >= 0) {
      // the last star takes one character more
      inPattern = star + 1
      at = ++resume
    } else {
      return false
    }
  }
  while (pattern[inPattern] === "*") inPattern++
  return inPattern === pattern.length
}

/** Whether a text matches one of several patterns, and none of those with a `!`. */
export const matchesAny = (text: string, patterns: ReadonlyArray<string>): boolean =>
  patterns.some((pattern) => !pattern.startsWith("!") && matches(text, pattern)) &&
  !patterns.some((pattern) => pattern.startsWith("!") && matches(text, pattern.slice(1)))

/** The same for patterns with commas between. */
export const matchesList = (text: string, list: string): boolean => matchesAny(text, list.split(","))

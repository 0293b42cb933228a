import { matches, matchesList } from "../patterns.ts"

/** Every name once, where it comes first. */
const unique = (names: ReadonlyArray<string>): ReadonlyArray<string> => [...new Set(names)]

/**
 * The algorithms that a list stands for: `+` adds to the default ones, `^` puts before them, `-` takes from them, and nothing
 * replaces them. Its names may be patterns, for what is supported; others are left out.
 */
export const expand = (
  list: string,
  { defaults, supported }: { readonly defaults: ReadonlyArray<string>; readonly supported: ReadonlyArray<string> }
): ReadonlyArray<string> => {
  const names = list.replace(/^[+^-]/, "").split(",")
  const named = () => names.flatMap((pattern) => supported.filter((name) => matches(name, pattern)))
  switch (list[0]) {
    case "+":
      return unique([...defaults, ...named()])
    case "^":
      return unique([...named(), ...defaults])
    case "-":
      return defaults.filter((name) => !matchesList(name, names.join(",")))
    default:
      return unique(named())
  }
}

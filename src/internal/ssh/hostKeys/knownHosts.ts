import * as HostNames from "./hostNames.ts"
import * as PublicKey from "./publicKey.ts"

/** Where lines come from. */
export interface Source {
  /** How errors call it. */
  readonly name: string
  readonly isFile: boolean
}

/** A line that says something about the host that was looked up. */
export interface Entry {
  readonly source: Source
  readonly line: number
  readonly marker: "revoked" | "cert-authority" | undefined
  /** The names it begins with. */
  readonly names: string
  readonly key: PublicKey.PublicKey
}

/** A line, not yet understood further than it takes to find out whom it is about. */
export interface Line {
  readonly source: Source
  readonly line: number
  readonly marker: Entry["marker"]
  readonly names: string
  readonly key: string
}

const markers: Readonly<Record<string, Entry["marker"]>> = {
  "@revoked": "revoked",
  "@cert-authority": "cert-authority"
}

/** The marker at the beginning of a line and what follows it; nothing where it has one that is not known. */
const unmark = (text: string): readonly [marker: Entry["marker"], rest: string] | undefined => {
  if (!text.startsWith("@")) return [undefined, text]
  // a tab ends a marker only where the line has no space at all: so OpenSSH
  const end = text.indexOf(text.includes(" ") ? " " : "\t")
  if (end < 0) return undefined
  const marker = markers[text.slice(0, end)]
  const rest = text.slice(end).replace(/^[ \t]+/, "")
  return marker === undefined || rest.startsWith("@") ? undefined : [marker, rest]
}

/**
 * The lines of a file of sshd(8)'s format, given as bytes. Those that cannot be understood are passed over, as OpenSSH
 * does; that includes lines whose marker is not known.
 */
export const parse = (bytes: Uint8Array, source: Source): ReadonlyArray<Line> =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1").split("\n")
    .flatMap((raw, index): ReadonlyArray<Line> => {
      // C ends a text with a zero
      const text = raw.replace(/\0.*$/s, "").replace(/^[ \t]+/, "")
      if (text === "" || text.startsWith("#")) return []
      const unmarked = unmark(text)
      if (unmarked === undefined) return []
      const [marker, rest] = unmarked
      const [, names, key] = /^([^ \t]+)[ \t]+(.+)$/s.exec(rest) ?? []
      return names === undefined || key === undefined ? [] : [{ source, line: index + 1, marker, names, key }]
    })

const understood = (lines: ReadonlyArray<Line>): ReadonlyArray<Entry> =>
  lines.flatMap((line) => {
    const key = PublicKey.fromText(line.key)
    return key === undefined ? [] : [{ ...line, key }]
  })

/** The lines about a host, in their order. */
export const about = (lines: ReadonlyArray<Line>, name: string): ReadonlyArray<Entry> => {
  const host = HostNames.asBytes(name)
  return understood(lines.filter(({ names }) => HostNames.areAbout(names, host)))
}

/** Whether a line says that this is a key of its hosts. */
export const isKnown = ({ key, marker }: Entry, shown: PublicKey.HostKey): boolean =>
  marker === undefined && !key.inCertificate && key.bytes.equals(shown.bytes)

/** The other lines that have a key: as whom it is known already. */
export const others = (
  lines: ReadonlyArray<Line>,
  shown: PublicKey.HostKey
): ReadonlyArray<Entry> => {
  const base64 = Buffer.from(shown.bytes).toString("base64")
  return understood(lines.filter(({ key }) => key.includes(base64))).filter((entry) => isKnown(entry, shown))
}

/** A line for a file. */
export const format = (name: string, key: PublicKey.HostKey, options: { readonly hash: boolean }): string =>
  `${options.hash ? HostNames.hashed(name) : name} ${key.type} ${Buffer.from(key.bytes).toString("base64")}`

/** Where a line stands, as editors take it. */
export const place = ({ line, source }: Pick<Entry, "line" | "source">): string =>
  source.isFile ? `${source.name}:${line}` : `line ${line} of ${source.name}`

import type { Names } from "./hostNames.ts"
import { about, type Entry, isKnown, type Line } from "./knownHosts.ts"
import type { HostKey } from "./publicKey.ts"

/** What known hosts say about a key that a server shows. */
export type Decision =
  /** It is the server's. */
  | { readonly _tag: "Known" }
  /** Nobody may use it any more. */
  | { readonly _tag: "Revoked"; readonly entry: Entry }
  /** The server is known by other keys, of this type or of others; `entry` is the last of them. */
  | { readonly _tag: "Changed"; readonly entry: Entry; readonly authority: Entry | undefined }
  /** An authority may vouch for it, by a certificate. */
  | { readonly _tag: "Certified"; readonly entry: Entry }
  /** Nothing is known; `elsewhere` is a line about another port of the host, with another key. */
  | { readonly _tag: "Unknown"; readonly elsewhere: Entry | undefined }

/** The lines about a server. */
export interface Known {
  readonly here: ReadonlyArray<Entry>
  /** Those by its name without the port. Looked for only when they are needed: with hashed names that is some work. */
  readonly anywhere: () => ReadonlyArray<Entry>
}

/** Looks a server up. */
export const lookUp = (lines: ReadonlyArray<Line>, { name, withoutPort }: Names): Known => ({
  here: about(lines, name),
  anywhere: () => withoutPort === undefined ? [] : about(lines, withoutPort)
})

const isPlain = ({ marker }: Entry) => marker === undefined

/**
 * Decides as OpenSSH does: a revocation wins; then one line with the key is enough; other keys of the host speak against it,
 * whatever their type. Where there is no key for this port, the host without its port may vouch for the key, but it cannot
 * speak against it.
 */
export const decide = ({ here, ...known }: Known, key: HostKey): Decision => {
  const last = here.findLast(isPlain)
  const anywhere = last === undefined ? known.anywhere() : []
  const entries = [...here, ...anywhere]
  const revoked = entries.find((entry) => entry.marker === "revoked" && entry.key.bytes.equals(key.bytes))
  if (revoked !== undefined) return { _tag: "Revoked", entry: revoked }
  if (entries.some((entry) => isKnown(entry, key))) return { _tag: "Known" }
  const authority = entries.find(({ marker }) => marker === "cert-authority")
  if (last !== undefined) return { _tag: "Changed", entry: last, authority }
  return authority !== undefined
    ? { _tag: "Certified", entry: authority }
    : { _tag: "Unknown", elsewhere: anywhere.findLast(isPlain) }
}

/** The type that is asked for first where nothing is known. */
const best = "ssh-ed25519"

/**
 * The types of key to ask for before others: those by which the host is known under its own port. As for OpenSSH, a type
 * whose first key is revoked does not count, and where a key of the best type is known the others stay in their order.
 */
export const preferredTypes = ({ here }: Known): ReadonlyArray<string> => {
  const revoked = here.filter(({ marker }) => marker === "revoked")
  const firsts = new Map<string, Entry>()
  for (const entry of here) {
    if (isPlain(entry) && !entry.key.inCertificate && !firsts.has(entry.key.type)) firsts.set(entry.key.type, entry)
  }
  const types = [...firsts].flatMap(([type, { key }]) =>
    revoked.some((one) => one.key.bytes.equals(key.bytes)) ? [] : [type]
  )
  return types.includes(best) ? [best] : types
}

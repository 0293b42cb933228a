import * as Crypto from "node:crypto"
import { type HostKey, typeOf } from "./publicKey.ts"

/** A line of a known_hosts file that could be understood. */
export interface KnownHost {
  readonly file: string
  readonly line: number
  readonly marker: "revoked" | "cert-authority" | undefined
  /** Whether the line is about this host. */
  readonly matches: (host: string) => boolean
  readonly keyType: string
  readonly key: Buffer
}

/** What a set of known hosts says about a key. */
export type Finding =
  | { readonly _tag: "Match" }
  | { readonly _tag: "Revoked"; readonly entry: KnownHost }
  | { readonly _tag: "Changed"; readonly entry: KnownHost }
  | { readonly _tag: "OtherTypes"; readonly entries: ReadonlyArray<KnownHost> }
  | { readonly _tag: "Unknown" }

/** How a host is written in the file: a port other than 22 goes with brackets. */
export const hostName = (host: string, port: number): string =>
  port === 22 ? host.toLowerCase() : `[${host.toLowerCase()}]:${port}`

/** A line for a file, with the name in clear text. */
export const format = (host: string, key: HostKey): string =>
  `${host} ${key.type} ${Buffer.from(key.bytes).toString("base64")}`

const wildcard = (pattern: string): RegExp =>
  new RegExp(
    `^${
      pattern.replaceAll(/[^*?]/gu, (char) => `\\u{${char.codePointAt(0)!.toString(16)}}`)
        .replaceAll(/\*+/g, ".*").replaceAll("?", ".")
    }$`,
    "iu"
  )

const hashed = (field: string): (host: string) => boolean => {
  const [salt, hash] = field.slice(3).split("|").map((part) => Buffer.from(part, "base64"))
  return (host) =>
    salt !== undefined && hash !== undefined && Crypto.createHmac("sha1", salt).update(host).digest().equals(hash)
}

const patterns = (field: string): (host: string) => boolean => {
  const parts = field.split(",").filter((part) => part !== "")
  const negated = parts.filter((part) => part.startsWith("!")).map((part) => wildcard(part.slice(1)))
  const wanted = parts.filter((part) => !part.startsWith("!")).map(wildcard)
  return (host) => wanted.some((one) => one.test(host)) && !negated.some((one) => one.test(host))
}

const markers: Record<string, KnownHost["marker"]> = { "@revoked": "revoked", "@cert-authority": "cert-authority" }

/**
 * Reads a file of sshd(8)'s format. Lines that cannot be understood are passed over, as OpenSSH does, except that an
 * unknown marker takes its line with it: what it meant to restrict is not known.
 */
export const parse = (text: string, file: string): ReadonlyArray<KnownHost> =>
  text.split(/\r?\n/).flatMap((raw, index): ReadonlyArray<KnownHost> => {
    const fields = raw.trim().split(/[ \t]+/)
    const first = fields[0] ?? ""
    if (first === "" || first.startsWith("#")) return []
    const marker = markers[first]
    if (first.startsWith("@") && marker === undefined) return []
    const [hosts, keyType, base64] = marker === undefined ? fields : fields.slice(1)
    if (hosts === undefined || keyType === undefined || base64 === undefined) return []
    const key = Buffer.from(base64, "base64")
    if (typeOf(key) !== keyType) return []
    const matches = hosts.startsWith("|1|") ? hashed(hosts) : patterns(hosts)
    return [{ file, line: index + 1, marker, matches, keyType, key }]
  })

const plain = (entries: ReadonlyArray<KnownHost>, host: string) =>
  entries.filter((entry) => entry.marker === undefined && entry.matches(host))

/** The key types that are known for a host, in the order of the files. */
export const knownTypes = (
  entries: ReadonlyArray<KnownHost>,
  host: string
): ReadonlyArray<string> => [...new Set(plain(entries, host).map(({ keyType }) => keyType))]

/** What is known about a host that shows this key. */
export const find = (entries: ReadonlyArray<KnownHost>, host: string, key: HostKey): Finding => {
  const revoked = entries.find((entry) =>
    entry.marker === "revoked" && entry.key.equals(key.bytes) && entry.matches(host)
  )
  if (revoked !== undefined) return { _tag: "Revoked", entry: revoked }
  const known = plain(entries, host)
  if (known.some((entry) => entry.key.equals(key.bytes))) return { _tag: "Match" }
  const changed = known.find(({ keyType }) => keyType === key.type)
  if (changed !== undefined) return { _tag: "Changed", entry: changed }
  return known.length > 0 ? { _tag: "OtherTypes", entries: known } : { _tag: "Unknown" }
}

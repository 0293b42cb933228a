import * as NetAddress from "effect/net/NetAddress"
import * as Result from "effect/Result"
import * as Crypto from "node:crypto"
import { matchesList } from "../patterns.ts"

/** The server whose key is being checked, as `HostKeys.Server`. */
export interface Server {
  readonly host: string
  readonly port: number
  readonly alias?: string | undefined
}

/** What a server is called in a file of known hosts. */
export interface Names {
  readonly name: string
  /** Looked up where nothing is known by `name`. */
  readonly withoutPort: string | undefined
}

/** As the C library does it in every locale that ssh uses: letters of ASCII only. */
const lowercase = (text: string): string => text.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase())

/** Addresses in the form in which the system prints them, names in lower case. */
const canonical = (host: string): string => {
  const [address, zone] = host.split("%", 2)
  const parsed = NetAddress.ipFromString(address!)
  if (Result.isFailure(parsed)) return lowercase(host)
  return `${NetAddress.formatIp(parsed.success)}${zone === undefined ? "" : `%${zone}`}`
}

/** An alias stands for host and port; a port other than 22 goes with brackets. */
export const namesOf = ({ alias, host, port }: Server): Names => {
  if (alias !== undefined) return { name: lowercase(alias), withoutPort: undefined }
  const name = canonical(host)
  return port === 22 ? { name, withoutPort: undefined } : { name: `[${name}]:${port}`, withoutPort: name }
}

/** Whether a name can be written into a file and means itself there: no pattern, no list, no comment. */
export const isWritable = ({ alias, host }: Server): boolean => !/[\s\p{Cc}@?*#[\]|'"\\,!]/u.test(alias ?? host)

const hashOf = (name: string, salt: Buffer): string => {
  const hash = Crypto.createHmac("sha1", salt).update(name, "latin1").digest("base64")
  return `|1|${salt.toString("base64")}|${hash}`
}

/** Text as its UTF-8 bytes, one a character: as C compares them. */
export const asBytes = (text: string): string => Buffer.from(text, "utf8").toString("latin1")

/** A name that others cannot read, as `HashKnownHosts` and `ssh-keygen -H` make it. */
export const hashed = (name: string): string => hashOf(asBytes(name), Crypto.randomBytes(20))

// a list with a longer one matches nothing: OpenSSH has no room for it
const longestPattern = 1022

/** Whether the names at the beginning of a line are about a host; both as bytes. */
export const areAbout = (names: string, host: string): boolean => {
  if (names.startsWith("|")) {
    const salt = Buffer.from(names.split("|")[2] ?? "", "base64")
    return salt.length === 20 && hashOf(host, salt) === names
  }
  const patterns = lowercase(names)
  return matchesList(host, patterns) && patterns.split(",").every((one) => one.length <= longestPattern)
}

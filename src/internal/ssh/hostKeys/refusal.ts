import { HostKeyRejected, type SshErrorReason, Unsupported } from "../../../errors/SshError.ts"
import type { Decision } from "./decision.ts"
import * as HostNames from "./hostNames.ts"
import { type Entry, place } from "./knownHosts.ts"
import { fingerprint, type HostKey } from "./publicKey.ts"

/** The error of a key that is not accepted; `entry` is the line that speaks against it. */
export const rejected = (
  server: HostNames.Server,
  key: HostKey,
  why: HostKeyRejected["why"],
  detail: string,
  entry?: Entry
): HostKeyRejected =>
  new HostKeyRejected({
    host: HostNames.namesOf(server).name,
    keyType: key.type,
    fingerprint: key.fingerprint,
    why,
    detail,
    ...(entry === undefined ? {} : {
      known: {
        file: entry.source.name,
        line: entry.line,
        keyType: entry.key.type,
        fingerprint: fingerprint(entry.key.bytes)
      }
    })
  })

/** As a shell takes it, whatever it is. */
const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`

/** How to get rid of a line: `ssh-keygen -R` takes away all of it, so it must not be about other hosts as well. */
const removal = ({ names, source, ...entry }: Entry, host: string): string => {
  const alone = names.startsWith("|") || names.toLowerCase() === HostNames.asBytes(host)
  return source.isFile && alone
    ? `remove the old one: ssh-keygen -R ${quoted(host)} -f ${quoted(source.name)}`
    : `change ${place({ source, ...entry })}`
}

const known = ({ key, ...entry }: Entry) =>
  `${place(entry)} has ${key.inCertificate ? "a certificate of " : ""}${key.type} ${fingerprint(key.bytes)}`

/** Why known hosts do not accept a key, in words that tell a person what to do; `looked` is where was looked for it. */
export const refusal = (
  server: HostNames.Server,
  key: HostKey,
  decision: Exclude<Decision, { readonly _tag: "Known" }>,
  looked: string
): SshErrorReason => {
  const { name } = HostNames.namesOf(server)
  switch (decision._tag) {
    case "Revoked":
      return rejected(
        server,
        key,
        "revoked",
        `${place(decision.entry)} revokes it, so whoever shows it may have stolen it; the server needs a new key`,
        decision.entry
      )
    case "Changed": {
      const { authority, entry } = decision
      const certificate = authority === undefined
        ? ""
        : `. The certificate authority in ${place(authority)} cannot help: host certificates are not supported`
      return rejected(
        server,
        key,
        "changed",
        `${known(entry)}. Either the server was given another key, or somebody sits in between. If its administrator ` +
          `confirms the key that it showed, ${removal(entry, name)}${certificate}`,
        entry
      )
    }
    case "Certified":
      return new Unsupported({
        feature: "host certificate",
        detail:
          `${place(decision.entry)} lets a certificate authority vouch for ${name}, and nothing else is known about ` +
          `it. The server showed ${key.type} ${key.fingerprint} without a certificate: if its administrator confirms that ` +
          "key, add it to a known_hosts file, or accept it by its fingerprint"
      })
    default: {
      const { elsewhere } = decision
      const otherPort = elsewhere === undefined ? "" : `; for other ports ${known(elsewhere)}`
      return rejected(server, key, "unknown", `${looked}${otherPort}`)
    }
  }
}

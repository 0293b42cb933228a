import * as Result from "effect/Result"
import * as Jump from "./jump.ts"
import type { Line } from "./line.ts"

/** What a keyword of ssh_config(5) takes. */
export interface Keyword {
  /** The values, as `ssh -G` prints them; none where the line means no more than if it were not there. */
  readonly parse: (line: Line) => Result.Result<ReadonlyArray<string>, string>
  /** Whether all lines count; otherwise it is the first. */
  readonly every: boolean
}

type Parse = Keyword["parse"]

const first = (parse: Parse): Keyword => ({ parse, every: false })
const every = (parse: Parse): Keyword => ({ parse, every: true })

const one = (understand: (word: string) => Result.Result<ReadonlyArray<string>, string>): Parse => ({ words }) => {
  const [word = "", more] = words
  if (word === "") return Result.fail("its argument is missing")
  return more === undefined ? understand(word) : Result.fail(`"${more}" is one word too many`)
}

const text = one((word) => Result.succeed([word]))

const choice = (choices: ReadonlyArray<string>, others: Readonly<Record<string, string>> = {}): Parse => {
  const meaning = new Map(Object.entries({ true: "yes", false: "no", ...others }))
  return one((word) => {
    const lower = word.toLowerCase()
    const value = meaning.get(lower) ?? lower
    return choices.includes(value) ? Result.succeed([value]) : Result.fail(`"${word}" is none of ${choices.join(", ")}`)
  })
}

const flag = choice(["yes", "no"])

const largest = 0x7fffffff

const integer = one((word) =>
  /^\d+$/.test(word) && Number(word) <= largest
    ? Result.succeed([`${Number(word)}`])
    : Result.fail(`"${word}" is no number`)
)

const secondsIn: Readonly<Record<string, number>> = { "": 1, s: 1, m: 60, h: 3600, d: 86400, w: 604800 }

/** `90`, `1h30m`, ... in seconds. */
const secondsOf = (word: string): number | undefined => {
  if (word === "" || !/^(?:\d+[smhdw])*\d*$/i.test(word)) return undefined
  let total = 0
  for (const [, amount, unit = ""] of word.matchAll(/(\d+)([smhdw]?)/gi)) {
    total += Number(amount) * secondsIn[unit.toLowerCase()]!
  }
  return total <= largest ? total : undefined
}

const time = one((word) => {
  if (word === "none") return Result.succeed([])
  const seconds = secondsOf(word)
  return seconds === undefined ? Result.fail(`"${word}" is no time`) : Result.succeed([`${seconds}`])
})

const port = one((word) =>
  /^\d+$/.test(word) && Number(word) > 0 && Number(word) <= 65535
    ? Result.succeed([`${Number(word)}`])
    : Result.fail(`"${word}" is no port`)
)

/** Several words; `none` only alone. */
const list: Parse = ({ words }) => {
  if (words.includes("")) return Result.fail("a word is empty")
  if (words.length > 1 && words.some((word) => word.toLowerCase() === "none")) {
    return Result.fail("\"none\" has to stand alone")
  }
  return Result.succeed(words)
}

/** A command is taken as it is written, with its quotes and with what looks like a comment. */
const command: Parse = ({ rest }) => Result.succeed([rest.replace(/^[ \t\r\n=]*/, "")])

const bytesIn = "bkmgtpe"

/** `512`, `1.5G`, ... in bytes. */
const bytesOf = (word: string): number | undefined => {
  const [, amount, unit = "b"] = /^(\d+(?:\.\d*)?)([bkmgtpe])?$/i.exec(word) ?? []
  return amount === undefined ? undefined : Math.floor(Number(amount) * 1024 ** bytesIn.indexOf(unit.toLowerCase()))
}

const rekeyLimit: Parse = ({ words }) => {
  const [amount = "", interval = "none", more] = words
  if (more !== undefined) return Result.fail(`"${more}" is one word too many`)
  const bytes = amount === "default" ? 0 : bytesOf(amount)
  if (bytes === undefined || (bytes > 0 && bytes < 16)) return Result.fail(`"${amount}" is no amount of data`)
  const seconds = interval === "none" ? 0 : secondsOf(interval)
  return seconds === undefined
    ? Result.fail(`"${interval}" is no time`)
    : Result.succeed([`${bytes}`, `${seconds}`])
}

const sendEnv: Parse = ({ words }) => {
  const bad = words.find((word) => word === "" || word.includes("="))
  return bad === undefined ? Result.succeed(words) : Result.fail(`"${bad}" is no name of a variable`)
}

const setEnv: Parse = ({ words }) => {
  const bad = words.find((word) => !word.includes("="))
  if (bad !== undefined) return Result.fail(`"${bad}" has no "="`)
  const seen = new Set<string>()
  return Result.succeed(words.filter((word) => {
    const name = word.slice(0, word.indexOf("="))
    return !seen.has(name) && seen.add(name)
  }))
}

const proxyJump: Parse = ({ rest }) =>
  Result.map(Jump.parse(rest.replace(/^[ \t\r\n=]*/, "")), (jumps) => [Jump.format(jumps)])

const forwardAgent: Parse = one((word) => {
  const lower = word.toLowerCase()
  if (lower === "yes" || lower === "true") return Result.succeed(["yes"])
  return Result.succeed([lower === "no" || lower === "false" ? "no" : word])
})

const several = (names: string, keyword: Keyword): ReadonlyArray<readonly [string, Keyword]> =>
  names.split(" ").map((name) => [name, keyword])

/** What is only kept as data. */
const other = first(({ words }) => Result.succeed(words))

const keywords: ReadonlyMap<string, Keyword> = new Map([
  ...several(
    "batchmode checkhostip clearallforwardings enablesshkeysign exitonforwardfailure forkafterauthentication forwardx11 " +
      "forwardx11trusted gatewayports gssapiauthentication gssapidelegatecredentials hashknownhosts " +
      "hostbasedauthentication identitiesonly kbdinteractiveauthentication nohostauthenticationforlocalhost " +
      "passwordauthentication permitlocalcommand proxyusefdpass stdinnull streamlocalbindunlink tcpkeepalive " +
      "visualhostkey",
    first(flag)
  ),
  ["canonicalizehostname", first(choice(["yes", "no", "always"]))],
  ["compression", first(choice(["yes", "no"]))],
  ["pubkeyauthentication", first(choice(["yes", "no", "unbound", "host-bound"]))],
  ["requesttty", first(choice(["yes", "no", "force", "auto"]))],
  ["sessiontype", first(choice(["none", "subsystem", "default"]))],
  ["stricthostkeychecking", first(choice(["yes", "no", "ask", "accept-new"], { off: "no" }))],
  ...several("connecttimeout serveraliveinterval", first(time)),
  ...several("connectionattempts numberofpasswordprompts requiredrsasize serveralivecountmax", first(integer)),
  ["port", first(port)],
  ...several(
    "bindaddress bindinterface ciphers hostkeyalgorithms hostname identityagent ignoreunknown kexalgorithms " +
      "macs preferredauthentications pubkeyacceptedalgorithms tag user",
    first(text)
  ),
  ...several("knownhostscommand localcommand proxycommand remotecommand", first(command)),
  ...several("globalknownhostsfile revokedhostkeys userknownhostsfile", first(list)),
  ...several("certificatefile identityfile", every(text)),
  ["hostkeyalias", first(one((word) => Result.succeed([word.toLowerCase()])))],
  ["forwardagent", first(forwardAgent)],
  ["proxyjump", first(proxyJump)],
  ["rekeylimit", first(rekeyLimit)],
  ["sendenv", every(sendEnv)],
  ["setenv", first(setEnv)],
  ...several(
    "addkeystoagent addressfamily canonicaldomains canonicalizefallbacklocal canonicalizemaxdots " +
      "canonicalizepermittedcnames casignaturealgorithms channeltimeout controlmaster controlpath controlpersist " +
      "enableescapecommandline escapechar fingerprinthash forwardx11timeout gssapiclientidentity gssapikexalgorithms " +
      "gssapikeyexchange gssapirenewalforcesrekey gssapiserveridentity gssapitrustdns hostbasedacceptedalgorithms ipqos " +
      "kbdinteractivedevices loglevel logverbose obscurekeystroketiming permitremoteopen pkcs11provider refuseconnection " +
      "securitykeyprovider streamlocalbindmask syslogfacility tunnel tunneldevice updatehostkeys verifyhostkeydns " +
      "versionaddendum warnweakcrypto xauthlocation",
    other
  )
])

/** Names of before, and what they are called now. */
const renamed: ReadonlyMap<string, string> = new Map([
  ["challengeresponseauthentication", "kbdinteractiveauthentication"],
  ["dsaauthentication", "pubkeyauthentication"],
  ["hostbasedkeytypes", "hostbasedacceptedalgorithms"],
  ["identityfile2", "identityfile"],
  ["keepalive", "tcpkeepalive"],
  ["pubkeyacceptedkeytypes", "pubkeyacceptedalgorithms"],
  ["skeyauthentication", "kbdinteractiveauthentication"],
  ["smartcarddevice", "pkcs11provider"],
  ["tisauthentication", "kbdinteractiveauthentication"]
])

/** What ssh knows and passes over. macOS has one more. */
const passedOver: ReadonlySet<string> = new Set([
  "afstokenpassing",
  "cipher",
  "compressionlevel",
  "fallbacktorsh",
  "globalknownhostsfile2",
  "kerberosauthentication",
  "kerberostgtpassing",
  "protocol",
  "rhostsauthentication",
  "rhostsrsaauthentication",
  "rsaauthentication",
  "useprivilegedport",
  "userknownhostsfile2",
  "useroaming",
  "usersh",
  ...(process.platform === "darwin" ? ["usekeychain"] : [])
])

/** Finds a keyword by the name it has now; `"ignored"` is one that means nothing any more. */
export const find = (name: string): (Keyword & { readonly name: string }) | "ignored" | undefined => {
  if (passedOver.has(name)) return "ignored"
  const now = renamed.get(name) ?? name
  const keyword = keywords.get(now)
  return keyword === undefined ? undefined : { ...keyword, name: now }
}

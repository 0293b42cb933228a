import { createRequire } from "node:module"
import type { Algorithms as Ssh2Algorithms } from "ssh2"
import { HandshakeFailed, type SshErrorReason, Unsupported } from "../../errors/SshError.ts"
import type { Direction, Negotiated } from "./negotiated.ts"
import type { ServerOffer } from "./serverOffer.ts"

const require = createRequire(import.meta.url)

/** What the two sides of a connection have to agree on. */
export type Kind = "keyExchange" | "hostKey" | "cipher" | "mac" | "compression"

/** Algorithms of each kind, in order of preference. */
export type Lists = { readonly [K in Kind]: ReadonlyArray<string> }

/** As `SshSettings.Algorithms`. */
export type Wanted = { readonly [K in Kind]?: ReadonlyArray<string> | undefined }

const names: { readonly [K in Kind]: string } = {
  keyExchange: "key exchange",
  hostKey: "host key",
  cipher: "cipher",
  mac: "MAC",
  compression: "compression"
}

const kinds: ReadonlyArray<Kind> = ["keyExchange", "hostKey", "cipher", "mac", "compression"]

/**
 * No SHA-1, no CBC, no Diffie-Hellman group below 2048 bits. AES-GCM first: it is the fastest here, and where ssh2 puts it
 * depends on how it was built.
 */
const preferences: Lists = {
  keyExchange: [
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group-exchange-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group17-sha512",
    "diffie-hellman-group15-sha512",
    "diffie-hellman-group14-sha256"
  ],
  hostKey: [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256"
  ],
  cipher: [
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr"
  ],
  mac: [
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512"
  ],
  compression: ["none", "zlib@openssh.com"]
}

const loadSupported = (): Lists => {
  try {
    const constants: Record<string, ReadonlyArray<string>> = require("ssh2/lib/protocol/constants.js")
    return {
      keyExchange: constants["SUPPORTED_KEX"] ?? preferences.keyExchange,
      hostKey: constants["SUPPORTED_SERVER_HOST_KEY"] ?? preferences.hostKey,
      cipher: constants["SUPPORTED_CIPHER"] ?? preferences.cipher,
      mac: constants["SUPPORTED_MAC"] ?? preferences.mac,
      compression: constants["SUPPORTED_COMPRESSION"] ?? preferences.compression
    }
  } catch {
    return preferences
  }
}

/** All that can be asked for: ssh2 leaves out what this build of Node does not have. */
export const supported: Lists = loadSupported()

const ofKind = (list: (kind: Kind) => ReadonlyArray<string>): Lists => ({
  keyExchange: list("keyExchange"),
  hostKey: list("hostKey"),
  cipher: list("cipher"),
  mac: list("mac"),
  compression: list("compression")
})

/** What is offered where nothing is asked for. */
export const defaults: Lists = ofKind((kind) => preferences[kind].filter((name) => supported[kind].includes(name)))

const isPostQuantum = (name: string) => /mlkem|sntrup|kyber|ntru/.test(name)

const featureOf = (name: string): Unsupported["feature"] =>
  isPostQuantum(name)
    ? "post-quantum key exchange"
    : name.includes("-cert-")
    ? "host certificate"
    : "algorithm"

const keyTypeOf = (algorithm: string) => algorithm.startsWith("rsa-sha2-") ? "ssh-rsa" : algorithm

/** The algorithms for host keys, those for keys of known types first. */
export const knownFirst = (
  algorithms: ReadonlyArray<string>,
  knownTypes: ReadonlyArray<string>
): ReadonlyArray<string> => {
  const isKnown = (algorithm: string) => knownTypes.includes(keyTypeOf(algorithm))
  return [...algorithms.filter(isKnown), ...algorithms.filter((algorithm) => !isKnown(algorithm))]
}

/** What to offer to a server, or why that cannot be offered. */
export const offer = (wanted: Wanted | undefined, knownTypes: ReadonlyArray<string>): Lists | Unsupported => {
  for (const kind of kinds) {
    const list = wanted?.[kind]
    if (list === undefined) continue
    const unknown = list.find((name) => !supported[kind].includes(name))
    if (unknown !== undefined) {
      return new Unsupported({
        feature: featureOf(unknown),
        detail: `${JSON.stringify(unknown)} as ${names[kind]} algorithm; there are ${supported[kind].join(", ")}`
      })
    }
    if (list.length === 0) {
      return new Unsupported({ feature: "algorithm", detail: `no ${names[kind]} algorithm is given at all` })
    }
  }
  const lists = ofKind((kind) => wanted?.[kind] ?? defaults[kind])
  return { ...lists, hostKey: knownFirst(lists.hostKey, knownTypes) }
}

/** Its types list what it has by name, which is looked up where it is wanted. */
const ssh2List = (names: ReadonlyArray<any>): Array<any> => [...names]

/** An offer in ssh2's words. */
export const toSsh2 = ({ cipher, compression, hostKey, keyExchange, mac }: Lists): Ssh2Algorithms => ({
  kex: ssh2List(keyExchange),
  serverHostKey: ssh2List(hostKey),
  cipher: ssh2List(cipher),
  hmac: ssh2List(mac),
  compress: ssh2List(compression)
})

const hasOwnMac = (cipher: string | undefined) => cipher !== undefined && /gcm|poly1305/.test(cipher)

/** Why there is nothing that both sides have, if that is so. */
export const mismatch = (ours: Lists, theirs: ServerOffer): SshErrorReason | undefined => {
  const { keyExchange } = theirs
  if (keyExchange.length > 0 && keyExchange.every(isPostQuantum)) {
    return new Unsupported({
      feature: "post-quantum key exchange",
      detail: `the server knows no other key exchange than ${keyExchange.join(", ")}`
    })
  }
  const inCommon = (kind: Kind, list: ReadonlyArray<string>) => ours[kind].find((name) => list.includes(name))
  const nothing = (kind: Kind, list: ReadonlyArray<string>) =>
    inCommon(kind, list) !== undefined ? undefined : new HandshakeFailed({
      detail: `no ${names[kind]} algorithm in common: we offer ${ours[kind].join(", ")}; the server offers ${
        list.join(", ")
      }`
    })
  const inDirection = (direction: 0 | 1) =>
    nothing("cipher", theirs.cipher[direction]) ??
      (hasOwnMac(inCommon("cipher", theirs.cipher[direction])) ? undefined : nothing("mac", theirs.mac[direction])) ??
      nothing("compression", theirs.compression[direction])
  return nothing("keyExchange", keyExchange) ?? nothing("hostKey", theirs.hostKey) ?? inDirection(0) ?? inDirection(1)
}

interface Ssh2Direction {
  readonly cipher: string
  readonly mac: string
  readonly compress: string
}

const directionOf = ({ cipher, compress, mac }: Ssh2Direction): Direction => ({
  cipher,
  // ciphers with a MAC of their own have no other
  mac: mac === "" ? "implicit" : mac,
  compression: compress
})

/** What ssh2 says was agreed on. */
export const negotiated = ({ cs, kex, sc, serverHostKey }: {
  readonly kex: string
  readonly serverHostKey: string
  readonly cs: Ssh2Direction
  readonly sc: Ssh2Direction
}): Negotiated => ({
  keyExchange: kex,
  hostKey: serverHostKey,
  sending: directionOf(cs),
  receiving: directionOf(sc)
})

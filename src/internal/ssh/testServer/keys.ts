import * as Redacted from "effect/Redacted"
import type { ParsedKey } from "ssh2"
import Ssh2 from "../ssh2.ts"
import type { KeyPair } from "./model.ts"

/** A new Ed25519 key. */
export const generate = (passphrase?: Redacted.Redacted): KeyPair => {
  const protection = passphrase === undefined ? undefined : Redacted.value(passphrase)
  const pair = protection === undefined
    ? Ssh2.utils.generateKeyPairSync("ed25519")
    : Ssh2.utils.generateKeyPairSync("ed25519", { passphrase: protection, cipher: "aes256-ctr", rounds: 4 })
  // one in some hundred of the keys that ssh2 makes is not one that ssh2 can read
  return Ssh2.utils.parseKey(pair.private, protection) instanceof Error ? generate(passphrase) : pair
}

let own: string | undefined

/** The host key of servers that are given none. Making one takes time, so all have the same. */
export const ownHostKey = (): string => own ??= generate().private

/** Understands a key, private or public; throws what is none. */
export const parse = (key: string): ParsedKey => {
  const parsed = Ssh2.utils.parseKey(key)
  if (parsed instanceof Error) throw parsed
  return parsed
}

/** The public part of a key, as a line of `authorized_keys` or behind the names of a line of `known_hosts`. */
export const publicLine = (key: ParsedKey): string => `${key.type} ${key.getPublicSSH().toString("base64")}`

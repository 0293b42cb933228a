/** Signatures as SSH writes them (RFC 4253, section 6.6; RFC 5656, section 3.1; RFC 8332; RFC 8709). */
import * as Crypto from "node:crypto"
import { mpint, string } from "../wire.ts"

/** A private key that is ready to sign. */
export interface PrivateKey {
  /** `ssh-ed25519`, `ssh-rsa`, `ecdsa-sha2-nistp256`, ... */
  readonly type: string
  /** The public key in SSH's own format. */
  readonly bytes: Buffer
  readonly key: Crypto.KeyObject
}

const hashes: Readonly<Record<string, string>> = {
  "ssh-rsa": "sha1",
  "rsa-sha2-256": "sha256",
  "rsa-sha2-512": "sha512",
  "ecdsa-sha2-nistp256": "sha256",
  "ecdsa-sha2-nistp384": "sha384",
  "ecdsa-sha2-nistp521": "sha512"
}

/** The two numbers of an ECDSA signature, which come as halves of the same size. */
const pair = (halves: Buffer): Buffer =>
  Buffer.concat([mpint(halves.subarray(0, halves.length / 2)), mpint(halves.subarray(halves.length / 2))])

/** Signs with an algorithm that fits the type of the key. */
export const sign = ({ key }: PrivateKey, algorithm: string, data: Uint8Array): Buffer => {
  const signature = Crypto.sign(hashes[algorithm], data, { key, dsaEncoding: "ieee-p1363" })
  return Buffer.concat([string(algorithm), string(algorithm.startsWith("ecdsa-") ? pair(signature) : signature)])
}

const certificate = "-cert-v01@openssh.com"

/** What a key is offered under, and what its signature is called. */
export interface Algorithm {
  readonly request: string
  readonly signature: string
  /** What to say of it when the server refuses the key. */
  readonly note?: string
}

/**
 * Chooses how to sign with a key or a certificate of a type, by what the server says it knows. RSA signs with SHA-2 only:
 * a server that says nothing may know it all the same, and with SHA-1 nothing is signed.
 */
export const algorithmFor = (type: string, known: ReadonlyArray<string> | undefined): Algorithm => {
  const isCertificate = type.endsWith(certificate)
  const plain = isCertificate ? type.slice(0, -certificate.length) : type
  if (plain !== "ssh-rsa") return { request: type, signature: plain }
  const announced = ["rsa-sha2-512", "rsa-sha2-256"].find((algorithm) => known?.includes(algorithm))
  const signature = announced ?? "rsa-sha2-256"
  return {
    request: isCertificate ? `${signature}${certificate}` : signature,
    signature,
    ...(announced === undefined
      ? {
        note: "the server does not say that it knows signatures of RSA keys with SHA-2, and with SHA-1 none are made"
      }
      : {})
  }
}

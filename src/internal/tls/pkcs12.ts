/**
 * Writes a PKCS #12 file (RFC 7292): a certificate, its chain and its key, protected by a passphrase. The key is encrypted
 * (PBES2, AES-256), the certificates are not; all of it is authenticated (HMAC-SHA-256).
 */
import * as Crypto from "node:crypto"
import * as Der from "./der.ts"

const data = "1.2.840.113549.1.7.1"
const shroudedKeyBag = "1.2.840.113549.1.12.10.1.2"
const certificateBag = "1.2.840.113549.1.12.10.1.3"
const x509Certificate = "1.2.840.113549.1.9.22.1"
const sha256 = "2.16.840.1.101.3.4.2.1"

const iterations = 2048

const contentInfo = (content: Buffer) => Der.sequence(Der.oid(data), Der.explicit(0, Der.octetString(content)))

const bag = (type: string, value: Buffer) => Der.sequence(Der.oid(type), Der.explicit(0, value))

/** Repeats something to the size of whole blocks. */
const toBlocks = (bytes: Buffer, size: number) => Buffer.alloc(Math.ceil(bytes.length / size) * size, bytes)

/** RFC 7292, appendix B.2, for keys of one hash: `3` stands for a key that authenticates. */
const macKey = (passphrase: string, salt: Buffer): Buffer => {
  const block = 64
  const password = Buffer.from(`${passphrase}\0`, "utf16le").swap16()
  let key = Buffer.concat([Buffer.alloc(block, 3), toBlocks(salt, block), toBlocks(password, block)])
  for (let n = 0; n < iterations; n++) key = Crypto.createHash("sha256").update(key).digest()
  return key
}

/** The file. Certificates are DER, the first one is the key's. */
export const write = (
  certificates: ReadonlyArray<Uint8Array>,
  key: Crypto.KeyObject,
  passphrase: string
): Buffer => {
  const shrouded = key.export({ type: "pkcs8", format: "der", cipher: "aes-256-cbc", passphrase })
  const certificateBags = certificates.map((certificate) =>
    bag(certificateBag, Der.sequence(Der.oid(x509Certificate), Der.explicit(0, Der.octetString(certificate))))
  )
  const safe = Der.sequence(
    contentInfo(Der.sequence(...certificateBags)),
    contentInfo(Der.sequence(bag(shroudedKeyBag, shrouded)))
  )
  const salt = Crypto.randomBytes(16)
  const mac = Crypto.createHmac("sha256", macKey(passphrase, salt)).update(safe).digest()
  return Der.sequence(
    Der.unsigned(Buffer.of(3)),
    contentInfo(safe),
    Der.sequence(
      Der.sequence(Der.sequence(Der.oid(sha256), Der.nothing), Der.octetString(mac)),
      Der.octetString(salt),
      Der.unsigned(Buffer.of(iterations >> 8, iterations & 0xff))
    )
  )
}

/** A certificate authority of its own and certificates of it, made by openssl. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import { files, folder, run, services } from "./peer.ts"

const newKey = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"

// only `openssl ca` makes a certificate that is over, and a list of revoked ones; it keeps books for that
const books = `
[ca]
default_ca = books
[books]
database = index.txt
new_certs_dir = .
serial = serial
default_md = sha256
default_crl_days = 30
policy = policy
unique_subject = no
[policy]
commonName = supplied
`

/**
 * Paths of PEM files. `server` is for localhost and 127.0.0.1, `named` for other.test, `expired` is `server` of another
 * time, `revoked` (also a client) is on the list `crl`; `stranger` is a client of `otherCa`, which has issued nothing else; `serverBoth`
 * is the certificate and the key of `server` in one file.
 */
export const certificates = Effect.gen(function*() {
  const directory = yield* folder("certificates")
  const fs = yield* FileSystem.FileSystem
  const openssl = (command: string) =>
    run({ command: "openssl", package: "openssl" }, command.split(" "), { cwd: directory })
  const authority = (name: string) =>
    openssl(
      `req -x509 ${newKey} -days 30 -keyout ${name}.key -out ${name}.pem -subj /CN=${name}` +
        " -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign"
    )
  const certificate = (name: string, usage: string, names: string, issuer = "ca", dates?: string) =>
    Effect.gen(function*() {
      const extensions = ["basicConstraints=CA:FALSE", "keyUsage=digitalSignature", `extendedKeyUsage=${usage}`]
      yield* files(directory, { [`${name}.ext`]: [...extensions, `subjectAltName=${names}`, ""].join("\n") })
      yield* openssl(`req -new ${newKey} -keyout ${name}.key -out ${name}.csr -subj /CN=${name}`)
      const request = `-in ${name}.csr -out ${name}.pem -extfile ${name}.ext`
      yield* dates === undefined
        ? openssl(`x509 -req ${request} -CA ${issuer}.pem -CAkey ${issuer}.key -CAcreateserial -days 30`)
        : openssl(`ca -batch -notext -config books.cnf ${request} -cert ${issuer}.pem -keyfile ${issuer}.key ${dates}`)
      return { cert: `${directory}/${name}.pem`, key: `${directory}/${name}.key` }
    })
  const localhost = "DNS:localhost,IP:127.0.0.1"
  yield* files(directory, { "books.cnf": books, "index.txt": "", serial: "1000\n" })
  yield* authority("ca")
  yield* authority("other-ca")
  const server = yield* certificate("server", "serverAuth", localhost)
  const revoked = yield* certificate("revoked", "serverAuth,clientAuth", localhost)
  yield* openssl("ca -batch -config books.cnf -cert ca.pem -keyfile ca.key -revoke revoked.pem")
  yield* openssl("ca -batch -config books.cnf -cert ca.pem -keyfile ca.key -gencrl -out crl.pem")
  yield* Effect.orDie(Effect.flatMap(
    Effect.forEach([server.cert, server.key], (path) => fs.readFileString(path)),
    (both) => fs.writeFileString(`${directory}/server-both.pem`, both.join(""))
  ))
  return {
    ca: `${directory}/ca.pem`,
    otherCa: `${directory}/other-ca.pem`,
    crl: `${directory}/crl.pem`,
    server,
    serverBoth: `${directory}/server-both.pem`,
    named: yield* certificate("named", "serverAuth", "DNS:other.test"),
    expired: yield* certificate(
      "expired",
      "serverAuth",
      localhost,
      "ca",
      "-startdate 20200101000000Z -enddate 20210101000000Z"
    ),
    revoked,
    client: yield* certificate("client", "clientAuth", "DNS:test-client"),
    stranger: yield* certificate("stranger", "clientAuth", "DNS:test-client", "other-ca")
  }
})

/** The certificates, for tests that share them. */
export class Certificates
  extends Context.Service<Certificates, Effect.Success<typeof certificates>>()("test/peers/Certificates")
{
  static readonly layer = Layer.effect(this, certificates).pipe(Layer.provide(services))
}

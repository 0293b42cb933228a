/** A certificate authority of its own and certificates of it, made by openssl. */
import * as Effect from "effect/Effect"
import { files, folder, run } from "./peer.ts"

const newKey = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"

/** Paths of PEM files; `server` is for localhost and 127.0.0.1, `otherCa` has issued nothing. */
export const certificates = Effect.gen(function*() {
  const directory = yield* folder("certificates")
  const openssl = (command: string) =>
    run({ command: "openssl", package: "openssl" }, command.split(" "), { cwd: directory })
  const authority = (name: string) =>
    openssl(
      `req -x509 ${newKey} -days 30 -keyout ${name}.key -out ${name}.pem -subj /CN=${name}` +
        " -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign"
    )
  const certificate = (name: string, usage: string, names: string) =>
    Effect.gen(function*() {
      const extensions = ["basicConstraints=CA:FALSE", "keyUsage=digitalSignature", `extendedKeyUsage=${usage}`]
      yield* files(directory, { [`${name}.ext`]: [...extensions, `subjectAltName=${names}`, ""].join("\n") })
      yield* openssl(`req -new ${newKey} -keyout ${name}.key -out ${name}.csr -subj /CN=${name}`)
      yield* openssl(
        `x509 -req -in ${name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile ${name}.ext -out ${name}.pem`
      )
      return { cert: `${directory}/${name}.pem`, key: `${directory}/${name}.key` }
    })
  yield* authority("ca")
  yield* authority("other-ca")
  return {
    ca: `${directory}/ca.pem`,
    otherCa: `${directory}/other-ca.pem`,
    server: yield* certificate("server", "serverAuth", "DNS:localhost,IP:127.0.0.1"),
    client: yield* certificate("client", "clientAuth", "DNS:test-client")
  }
})

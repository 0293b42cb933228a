import { assert, describe, it } from "@effect/vitest"
import { checkOf } from "../../../src/internal/tls/failure.ts"

describe("checkOf", () => {
  for (
    const [code, check] of [
      ["ERR_TLS_CERT_ALTNAME_INVALID", "name"],
      ["ERR_TLS_CERT_ALTNAME_FORMAT", "name"],
      ["CERT_HAS_EXPIRED", "expired"],
      ["CERT_NOT_YET_VALID", "notYetValid"],
      ["CERT_REVOKED", "revoked"],
      ["UNABLE_TO_GET_CRL", "revoked"],
      ["CRL_HAS_EXPIRED", "revoked"],
      ["CRL_SIGNATURE_FAILURE", "revoked"],
      ["ERR_SSL_TLSV1_UNRECOGNIZED_NAME", "name"],
      ["DEPTH_ZERO_SELF_SIGNED_CERT", "selfSigned"],
      ["SELF_SIGNED_CERT_IN_CHAIN", "issuer"],
      ["UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "issuer"],
      ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "issuer"],
      ["ERROR_IN_CERT_NOT_BEFORE_FIELD", "issuer"],
      ["INVALID_PURPOSE", "issuer"],
      ["ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED", "clientCertificate"],
      ["ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE", "clientCertificate"],
      ["ERR_SSL_TLSV1_ALERT_UNKNOWN_CA", "clientCertificate"],
      ["ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED", "clientCertificate"],
      ["ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE", "clientCertificate"],
      ["ERR_SSL_WRONG_VERSION_NUMBER", "protocol"],
      ["ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION", "protocol"],
      ["ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL", "protocol"],
      ["ERR_STREAM_PREMATURE_CLOSE", "closed"],
      ["ERR_STREAM_DESTROYED", "closed"],
      ["ERR_SSL_NO_APPLICATION_PROTOCOL", "protocol"],
      ["ERR_SSL_UNSUPPORTED_PROTOCOL", "protocol"],
      ["EPROTO", "protocol"],
      ["ECONNRESET", "closed"],
      ["EPIPE", "closed"],
      ["ETIMEDOUT", "closed"]
    ] as const
  ) {
    it(`takes ${code} for ${check}`, () => assert.strictEqual(checkOf(code), check))
  }

  it("takes alerts about certificates, on the server's side, for what the client has against ours", () => {
    const cases = [
      ["ERR_SSL_TLSV1_ALERT_UNKNOWN_CA", "issuer"],
      ["ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE", "issuer"],
      ["ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED", "expired"],
      ["ERR_SSL_SSLV3_ALERT_CERTIFICATE_REVOKED", "revoked"],
      ["ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE", "clientCertificate"],
      ["ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE", "protocol"]
    ] as const
    for (const [code, check] of cases) assert.strictEqual(checkOf(code, "server"), check, code)
  })

  it("takes a failure before the server has shown its certificate for having nothing in common", () => {
    assert.strictEqual(checkOf("ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE", "client", false), "protocol")
    assert.strictEqual(checkOf("ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE", "client", true), "clientCertificate")
  })
})

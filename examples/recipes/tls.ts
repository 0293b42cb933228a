import { TcpServer, Tls } from "hawser"

// a client that trusts the public certificate authorities, or your own, or shows a certificate itself
export const Public = Tls.layer()
export const Private = Tls.layer({ ca: "./internal-ca.pem" })
export const Mutual = Tls.layer({ ca: "./internal-ca.pem", cert: "./client.pem", key: "./client.key" })

// a server
export const Server = TcpServer.layer({ port: 7000, tls: { cert: "./server.pem", key: "./server.key" } })

/** Whose client and whose server. */
import * as Effect from "effect/Effect"
import type * as NetAddress from "effect/net/NetAddress"
import type * as Scope from "effect/Scope"
import { type CaseName, cases } from "./cases.ts"
import type { Client } from "./client.ts"
import * as GrpcJsClient from "./grpcJsClient.ts"
import * as GrpcJsServer from "./grpcJsServer.ts"
import * as HawserClient from "./hawserClient.ts"
import * as HawserServer from "./hawserServer.ts"
import { Path } from "./path.ts"
import type { Server } from "./server.ts"

/** A client and a server to be tried with each other. */
export interface Direction {
  readonly connect: (
    path: Path["Service"],
    address: NetAddress.SocketAddress
  ) => Effect.Effect<Client, unknown, Scope.Scope>
  readonly serve: (path: Path["Service"]) => Effect.Effect<Server, unknown, Scope.Scope>
}

export const directions = {
  "grpc-js to grpc-js": { connect: GrpcJsClient.connect, serve: GrpcJsServer.serve },
  "hawser to grpc-js": { connect: HawserClient.connect, serve: GrpcJsServer.serve },
  "grpc-js to hawser": { connect: GrpcJsClient.connect, serve: HawserServer.serve },
  "hawser to hawser": { connect: HawserClient.connect, serve: HawserServer.serve }
} as const satisfies { readonly [name: string]: Direction }

/** Runs one case with a server and a client at the ends of a path. */
export const run = (name: CaseName, { connect, serve }: Direction) =>
  Effect.gen(function*() {
    const path = yield* Path
    const server = yield* serve(path)
    const client = yield* connect(path, server.address)
    yield* cases[name]({ client, server, wire: path.wire })
  })

/** Whose client and whose server. */
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as NetAddress from "effect/net/NetAddress"
import type * as Scope from "effect/Scope"
import { leavesNothing } from "../support/leaks.ts"
import { allCases, type CaseName, cases } from "./cases.ts"
import type { Client } from "./client.ts"
import * as GrpcJsClient from "./grpcJsClient.ts"
import * as GrpcJsServer from "./grpcJsServer.ts"
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
  "grpc-js to grpc-js": { connect: GrpcJsClient.connect, serve: GrpcJsServer.serve }
} as const satisfies { readonly [name: string]: Direction }

/** Runs one case with a server and a client at the ends of a path. */
export const run = (name: CaseName, { connect, serve }: Direction) =>
  Effect.gen(function*() {
    const path = yield* Path
    const server = yield* serve(path)
    const client = yield* connect(path, server.address)
    yield* cases[name]({ client, server, wire: path.wire })
  })

/** Defines the tests of cases, all unless told, in a direction and over paths. */
export const describeCases = (
  direction: keyof typeof directions,
  over: { readonly [path: string]: () => Layer.Layer<Path, unknown> },
  names: ReadonlyArray<CaseName> = allCases
): void => {
  describe(`gRPC interop, ${direction}`, () => {
    for (const [path, network] of Object.entries(over)) {
      for (const name of names) {
        it.live(
          `${name} ${path}`,
          () => leavesNothing(Effect.scoped(run(name, directions[direction])).pipe(Effect.provide(network()))),
          60_000
        )
      }
    }
  })
}

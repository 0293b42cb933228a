/** gRPC's interop cases through proxies and servers that are not ours. */
import { layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Struct from "effect/Struct"
import * as Listener from "../../src/services/Listener.ts"
import { allCases } from "../interop/cases.ts"
import { directions, run } from "../interop/directions.ts"
import * as Path from "../interop/path.ts"
import { peers, ways } from "./support/ways.ts"

layer(peers, { excludeTestServices: true, timeout: "60 seconds" })("gRPC interop", (it) => {
  for (const direction of Struct.keys(directions)) {
    for (const [name, way] of Object.entries(ways)) {
      for (const title of allCases) {
        it.effect(`${title}, ${direction}, ${name}`, () =>
          Effect.scoped(run(title, directions[direction])).pipe(
            Effect.provide(Path.layer(Layer.merge(way(), Listener.layer)))
          ))
      }
    }
  }
})

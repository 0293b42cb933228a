import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { NotFound, ResourceExhausted } from "../../../errors/GrpcError.ts"
import { builtIn } from "../proto/builtIn.ts"
import * as Definitions from "../proto/definitions/health.ts"
import type { AnyHandler, Implementation } from "./handler.ts"
import type { ReflectedService } from "./reflection.ts"

/** Whether calls are welcome. */
export type ServingStatus = "SERVING" | "NOT_SERVING"

/** `grpc.health.v1.Health`, a service like any other, and what it says. */
export interface Health extends ReflectedService {
  readonly implementations: ReadonlyArray<Implementation>
  /** What is said of a service from now on; `""` is the server as a whole. Does nothing while the server drains. */
  readonly setStatus: (service: string, status: ServingStatus) => Effect.Effect<void>
  /** Says of everything that it is not serving, for good, and ends those who watch: the server waits for nobody. */
  readonly drain: Effect.Effect<void>
}

interface State {
  readonly statuses: ReadonlyMap<string, ServingStatus>
  readonly isDraining: boolean
}

interface Request {
  readonly service: string
}

// as in grpc-go
const maxListed = 100

/** The health of a server with these services, which are serving until something else is said. */
export const make = Effect.fnUntraced(function*(services: ReadonlyArray<string>): Effect.fn.Return<Health> {
  let state: State = {
    statuses: new Map(["", ...services].map((service) => [service, "SERVING"])),
    isDraining: false
  }
  // who watches and is slow misses what is in between
  const states = yield* PubSub.sliding<State>({ capacity: 1, replay: 1 })
  const become = (next: State) => PubSub.publish(states, state = next)
  yield* become(state)

  const handlers: Record<string, AnyHandler> = {
    Check: ({ service }: Request) => {
      const status = state.statuses.get(service)
      return status === undefined
        ? Effect.fail(new NotFound({ message: "unknown service" }))
        : Effect.succeed({ status })
    },
    List: () =>
      state.statuses.size > maxListed
        ? Effect.fail(new ResourceExhausted({ message: `there are more than ${maxListed} services` }))
        : Effect.succeed({
          statuses: new Map(Array.from(state.statuses, ([service, status]) => [service, { status }]))
        }),
    Watch: ({ service }: Request) =>
      Stream.fromPubSub(states).pipe(
        Stream.takeUntil(({ isDraining }) => isDraining),
        Stream.map(({ statuses }) => statuses.get(service) ?? "SERVICE_UNKNOWN"),
        Stream.changes,
        Stream.map((status) => ({ status }))
      )
  }
  const { files, method } = builtIn("grpc/health/v1/health.proto", Definitions.health)
  const name = "grpc.health.v1.Health"
  return {
    name,
    files,
    implementations: Object.entries(handlers).map(([key, handler]) => ({
      definition: Result.getOrThrow(method(`${name}/${key}`)),
      handler
    })),
    setStatus: (service, status) =>
      Effect.suspend(() =>
        state.isDraining ? Effect.void : become({ ...state, statuses: new Map(state.statuses).set(service, status) })
      ),
    drain: Effect.suspend(() =>
      become({
        statuses: new Map(Array.from(state.statuses.keys(), (service) => [service, "NOT_SERVING"])),
        isDraining: true
      })
    )
  }
})

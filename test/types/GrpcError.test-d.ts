import * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import { describe, expectTypeOf, it } from "vitest"
import type { DialError } from "../../src/errors/DialError.ts"
import type { GrpcError, GrpcErrorReason, Metadata } from "../../src/errors/GrpcError.ts"
import type { GrpcSchemaError } from "../../src/errors/GrpcSchemaError.ts"
import type { GrpcChannel } from "../../src/services/GrpcChannel.ts"

declare const channel: GrpcChannel

describe("GrpcError", () => {
  it("has the sixteen statuses as reasons that can be caught by name", () => {
    const caught = channel.unary("a.B/C", {}).pipe(
      Effect.catchReason("GrpcError", "NotFound", (reason) => {
        expectTypeOf(reason._tag).toEqualTypeOf<"NotFound">()
        expectTypeOf(reason.code).toEqualTypeOf<5>()
        expectTypeOf(reason.message).toEqualTypeOf<string>()
        expectTypeOf(reason.trailers).toEqualTypeOf<Metadata>()
        return Effect.succeed("none" as const)
      })
    )
    expectTypeOf<Effect.Success<typeof caught>>().toEqualTypeOf<{ readonly [field: string]: unknown } | "none">()
    expectTypeOf(() =>
      // @ts-expect-error there is no such status
      channel.unary("a.B/C", {}).pipe(Effect.catchReason("GrpcError", "Missing", () => Effect.void))
    ).toBeFunction()
  })

  it("can be handled status by status", () => {
    const handled = channel.unary("a.B/C", {}).pipe(
      Effect.catchReasons("GrpcError", {
        DeadlineExceeded: () => Effect.succeed(1 as const),
        Unavailable: (reason) => Effect.succeed(reason.code)
      })
    )
    expectTypeOf<1 | 14>().toExtend<Effect.Success<typeof handled>>()
  })

  it("has a code for each status", () => {
    expectTypeOf<GrpcErrorReason["code"]>().toEqualTypeOf<
      1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11 | 12 | 13 | 14 | 15 | 16
    >()
  })

  it("stands beside the other errors of a call", () => {
    type Unary = ReturnType<GrpcChannel["unary"]>
    type Messages = ReturnType<GrpcChannel["serverStream"]>
    expectTypeOf<Effect.Error<Unary>>().toEqualTypeOf<DialError | GrpcError | GrpcSchemaError>()
    expectTypeOf<Stream.Error<Messages>>().toEqualTypeOf<DialError | GrpcError | GrpcSchemaError>()
  })
})

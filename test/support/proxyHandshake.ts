import { assert } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type { DialErrorReason } from "../../src/errors/DialError.ts"
import { guardErrors } from "../../src/internal/net/owner.ts"
import * as Target from "../../src/internal/net/target.ts"
import { proxyHop } from "../../src/internal/proxy/hop.ts"
import type { ProxyInput } from "../../src/internal/proxy/settings.ts"
import { fragments } from "./fragments.ts"
import { ScriptedDuplex, turn } from "./scripted.ts"

export interface ShakeOptions {
  readonly target?: string
  /** How the reply is cut. Default: byte by byte. */
  readonly sizes?: ReadonlyArray<number>
  /** What comes right after the reply. */
  readonly early?: string
  /** Do not end the stream after that. */
  readonly keepOpen?: boolean
}

/** Begins to shake hands. */
export const begin = (proxy: ProxyInput, duplex: ScriptedDuplex, target = "db.test:5432") =>
  Effect.forkChild(
    proxyHop(proxy).handshake(guardErrors(duplex), Result.getOrThrow(Target.parse(target))),
    { startImmediately: true }
  )

/** Shakes hands with a proxy that answers with `reply` whatever it is asked. */
export const shake = Effect.fnUntraced(function*(
  proxy: ProxyInput,
  reply: string | Uint8Array,
  { early = "", keepOpen = false, sizes = [1], target }: ShakeOptions = {}
) {
  const duplex = new ScriptedDuplex()
  const shaking = yield* begin(proxy, duplex, target)
  for (const piece of fragments(Buffer.concat([Buffer.from(reply), Buffer.from(early)]), sizes)) {
    duplex.arrive(piece)
    yield* turn
  }
  if (!keepOpen) duplex.endInput()
  const exit = yield* Fiber.await(shaking)
  let rest = ""
  for (let chunk: Buffer | null; (chunk = duplex.read()) !== null;) rest += String(chunk)
  return { duplex, exit, rest, sent: Buffer.concat(duplex.written) }
})

/** The typed failure of a handshake, which is all that may have gone wrong. */
export const reasonOf = (exit: Exit.Exit<unknown, DialErrorReason>): DialErrorReason => {
  if (Exit.isSuccess(exit)) return assert.fail("the handshake went through")
  const failure = Cause.findErrorOption(exit.cause)
  if (exit.cause.reasons.length !== 1 || failure._tag === "None") return assert.fail(String(exit.cause))
  return failure.value
}

import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { createHook } from "node:async_hooks"

/** What Node makes to use the operating system's network, name resolution included. TLS over a stream is none of it. */
const ofTheSystem = new Set([
  "TCPSERVERWRAP",
  "TCPWRAP",
  "TCPCONNECTWRAP",
  "PIPESERVERWRAP",
  "PIPEWRAP",
  "PIPECONNECTWRAP",
  "UDPWRAP",
  "UDPSENDWRAP",
  "GETADDRINFOREQWRAP",
  "GETNAMEINFOREQWRAP",
  "DNSCHANNEL",
  "QUERYWRAP"
])

/** How many sockets, pipes and servers keep the process alive. */
const activeSockets = () => process.getActiveResourcesInfo().filter((kind) => /^(TCP|Pipe|UDP)/.test(kind)).length

/** The line of code that is running, below Node's own and this file's. */
const caller = () => {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 50
  const { stack = "" } = new Error()
  Error.stackTraceLimit = stackTraceLimit
  return stack.split("\n").slice(1).find((line) => !/node:|support\/noPorts\.ts/.test(line))?.trim() ?? "somewhere"
}

/**
 * Runs an effect in a scope of its own and asserts, when it succeeds, that it has opened no port, made no connection and
 * resolved no name on the machine, not even for a moment.
 */
export const opensNoPort = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, Scope.Scope>> =>
  Effect.gen(function*() {
    // the output of the process may be a pipe, which is opened when it is first looked at
    const before = [process.stdout, process.stderr].length === 2 ? activeSockets() : 0
    const opened: Array<string> = []
    const hook = createHook({
      init: (_id, type) => {
        if (ofTheSystem.has(type)) opened.push(`${type} ${caller()}`)
      }
    })
    const result = yield* Effect.acquireUseRelease(
      Effect.sync(() => hook.enable()),
      () => Effect.scoped(effect),
      () => Effect.sync(() => hook.disable())
    )
    if (opened.length > 0) assert.fail(`the system's network was used: ${opened.join(", ")}`)
    assert.isAtMost(activeSockets(), before)
    return result
  })

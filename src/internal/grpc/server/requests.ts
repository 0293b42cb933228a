import type * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { cast } from "effect/Function"
import type * as Pull from "effect/Pull"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { Duplex } from "node:stream"
import { type GrpcErrorReason, reasonFromCode, Unimplemented } from "../../../errors/GrpcError.ts"
import type { MethodDefinition } from "../definition.ts"
import type { Compression } from "../wire/compression.ts"
import { Incoming } from "../wire/incoming.ts"
import type { Status } from "../wire/status.ts"
import { refusalOf } from "./failure.ts"

/** Who is told what comes of the requests of a call. */
export interface RequestsOwner {
  /** The request is there: `only` gives it. */
  ready(): void
  /** They cannot be read further, which ends the call. */
  refuse(reason: GrpcErrorReason): void
}

const wrongNumber = new Unimplemented({ message: "the method takes exactly one message" })

const reasonOf = ({ code, message }: Status): GrpcErrorReason => reasonFromCode(code, message)

/** What a client sends in one call: one message that a method takes, or a stream of them. */
export class Requests {
  /** How many have come. */
  count = 0
  private readonly incoming: Incoming
  private readonly codec: MethodDefinition["request"]
  private readonly many: boolean
  private readonly owner: RequestsOwner
  /** The messages of a client that sends one. */
  private first: Effect.Effect<ReadonlyArray<Uint8Array>, Status> | undefined
  private problem: Status | undefined
  private abandoned = false
  private readonly waiters = new Set<() => void>()

  constructor(
    stream: Duplex,
    codec: MethodDefinition["request"],
    many: boolean,
    compression: Compression,
    maxSize: number,
    owner: RequestsOwner
  ) {
    this.codec = codec
    this.many = many
    this.owner = owner
    this.incoming = new Incoming(stream, maxSize, () => this.came(), (problem) => this.brokenBy(problem))
    this.incoming.compression = compression
    this.incoming.start()
  }

  /** Whether the client has sent all that it had to send. */
  get haveEnded(): boolean {
    return this.incoming.ended
  }

  /** Nobody wants them any more. */
  abandon(): void {
    this.abandoned = true
    this.incoming.abandon()
  }

  private came(): void {
    if (this.many) return this.wake()
    if (this.abandoned) return
    // taken at once: Node does not say that a stream has ended while it is held back
    if (this.first === undefined) this.first = this.incoming.take()
    else this.owner.refuse(wrongNumber)
  }

  private brokenBy(problem: Status): void {
    this.problem = problem
    if (this.many) this.wake()
    else this.owner.refuse(reasonOf(problem))
  }

  /**
   * The client has sent its last message. Or it has cancelled the call: a client on Node ends a stream right before it
   * resets it. A handler could take that for all that was to come, so it is not told before the reset has had the time to
   * arrive; where there is only one message, nobody can be mistaken.
   */
  end(): void {
    if (this.many) setImmediate(() => setImmediate(() => this.endMany()))
    else this.endOne()
  }

  private endMany(): void {
    if (this.abandoned) return
    this.incoming.finish()
    this.wake()
  }

  private endOne(): void {
    this.incoming.finish()
    if (this.abandoned) return
    if (this.first === undefined || !this.incoming.isEmpty) this.owner.refuse(wrongNumber)
    else this.owner.ready()
  }

  /** The one message, once the owner was told that it is there. */
  get only(): Effect.Effect<unknown, GrpcErrorReason> {
    return Effect.matchEffect(this.first!, {
      onFailure: (problem) => Effect.fail(reasonOf(problem)),
      onSuccess: ([message, second]) => {
        if (message === undefined || second !== undefined) return Exit.fail(wrongNumber)
        this.count = 1
        const decoded = this.codec.decode(message)
        return Result.isSuccess(decoded) ? Exit.succeed(decoded.success) : Exit.fail(refusalOf(decoded.failure))
      }
    })
  }

  private wake(): void {
    const waiters = [...this.waiters]
    // who has looked may wait again at once
    this.waiters.clear()
    for (const waiter of waiters) waiter()
  }

  /** All that come. It has no errors: whatever is wrong with them ends the call, and with it who reads them. */
  get stream(): Stream.Stream<unknown> {
    const news = Effect.callback<void>((resume) => {
      const waiter = () => resume(Effect.void)
      this.waiters.add(waiter)
      return Effect.sync(() => this.waiters.delete(waiter))
    })
    const pull: Pull.Pull<Arr.NonEmptyReadonlyArray<unknown>> = Effect.suspend(() => {
      if (!this.incoming.isEmpty) {
        return Effect.matchEffect(this.incoming.take(), {
          onFailure: (problem) => this.stop(reasonOf(problem)),
          onSuccess: (messages) => this.decode(messages)
        })
      }
      if (this.problem !== undefined) return this.stop(reasonOf(this.problem))
      return this.incoming.ended ? Cause.done() : Effect.andThen(news, pull)
    })
    return Stream.fromPull(Effect.succeed(pull))
  }

  private stop(reason: GrpcErrorReason): Effect.Effect<never> {
    this.owner.refuse(reason)
    return Effect.interrupt
  }

  private decode(messages: ReadonlyArray<Uint8Array>): Effect.Effect<Arr.NonEmptyReadonlyArray<unknown>> {
    this.count += messages.length
    const values: Array<unknown> = []
    for (const message of messages) {
      const decoded = this.codec.decode(message)
      if (Result.isFailure(decoded)) return this.stop(refusalOf(decoded.failure))
      values.push(decoded.success)
    }
    return Exit.succeed(cast(values))
  }
}

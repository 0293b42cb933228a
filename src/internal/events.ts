import * as Context from "effect/Context"

/** Which part of the library an event comes from. */
export type EventSource = "dial" | "tcp" | "ssh" | "grpc"

/** What happened, without payloads and without secrets. */
export interface EventInput {
  readonly source: EventSource
  /** Which connection, session or call. */
  readonly id: string
  /** `dialed`, `accepted`, `read`, `written`, `closed`, `failed`, ... */
  readonly event: string
  /** What a person wants to know about it: an address, a number of bytes, an error's message. */
  readonly detail: string
}

/**
 * Where events go. The default drops them, so code that reports events needs no service and costs one call; the
 * ConnectionLog layer replaces it.
 */
export const EventSink = Context.Reference<(event: EventInput) => void>("hawser/internal/EventSink", {
  defaultValue: () => dropEvent
})

/** Nobody is listening: an event whose words cost something need not be made. */
export const dropEvent = (): void => {}

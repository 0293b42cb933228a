import type { Requests } from "./requests.ts"

/** How much a server takes at a time; `handles` is 0 where it did not say. */
export interface Limits {
  readonly packet: number
  readonly read: number
  readonly write: number
  readonly handles: number
}

/** An SFTP server that has said what it can do. */
export interface Client {
  readonly requests: Requests
  readonly extensions: ReadonlyMap<string, string>
  readonly limits: Limits
}

import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import type { SshErrorReason } from "../../../errors/SshError.ts"
import * as Attributes from "./attributes.ts"
import type { Client } from "./client.ts"
import type { Handle } from "./operations.ts"
import { Cursor, Kind } from "./packet.ts"
import { refusal, type Requests, statusOf } from "./requests.ts"

/** What a server says of something that is in a folder. */
export interface Entry {
  readonly name: string
  readonly path: string
  readonly attributes: Attributes.Attributes
  readonly longname: string
}

type Batch = Arr.NonEmptyReadonlyArray<Entry>

/** How many answers with names are asked for at a time, at first and when there are many: a server gives a hundred in each. */
const ahead = { first: 2, most: 8 }

/** The path of something in a folder. */
export const join = (folder: string, name: string): string =>
  folder === "" || folder === "." ? name : folder.endsWith("/") ? folder + name : `${folder}/${name}`

const entries = (folder: string, cursor: Cursor): Array<Entry> => {
  const found: Array<Entry> = []
  for (let count = cursor.number(); count > 0 && !cursor.short; count--) {
    const name = cursor.text()
    const longname = cursor.text()
    const attributes = Attributes.decode(cursor)
    if (name !== "." && name !== "..") found.push({ name, path: join(folder, name), attributes, longname })
  }
  return found
}

/** Reads names with several requests for them under way. */
class Names {
  private readonly requests: Requests
  private readonly handle: Handle
  private ready: Array<Entry> = []
  private underWay = 0
  private window = ahead.first
  private ended = false
  private failure: SshErrorReason | undefined
  private wake: (() => void) | undefined

  constructor({ requests }: Client, handle: Handle) {
    this.requests = requests
    this.handle = handle
  }

  /** Names may still come from a request that was made before the one that found the end. */
  private get over(): boolean {
    return this.failure !== undefined || (this.ended && this.underWay === 0)
  }

  private ask(): void {
    while (!this.ended && this.failure === undefined && this.underWay < this.window) {
      this.underWay++
      this.requests.send(Kind.Readdir, [this.handle.id], {
        askedAt: this.requests.now(),
        answer: (kind, body) => this.answered(kind, body),
        fail: (reason) => this.settle(reason)
      })
    }
  }

  private answered(kind: number, body: Buffer): void {
    if (kind === Kind.Status) {
      if (statusOf(body) === 1) this.ended = true
      // a server may complain of a request behind the end
      return this.settle(this.ended ? undefined : refusal(this.about, body))
    }
    if (kind !== Kind.Name) {
      return this.settle(this.requests.violated(`it answered readDirectory with a packet of kind ${kind}`))
    }
    this.window = Math.min(ahead.most, 2 * this.window)
    const cursor = new Cursor(body)
    for (const entry of entries(this.handle.path, cursor)) this.ready.push(entry)
    this.settle(cursor.short ? this.requests.violated("its answer to readDirectory is too short") : undefined)
  }

  private get about() {
    return { operation: "readDirectory", path: this.handle.path }
  }

  private settle(failure: SshErrorReason | undefined): void {
    this.underWay--
    this.failure ??= failure
    if (this.ready.length === 0 && !this.over) {
      // the one for which others were waiting had only `.` and `..`
      if (this.underWay === 0) this.ask()
      return
    }
    const { wake } = this
    this.wake = undefined
    wake?.()
  }

  readonly pull: Pull.Pull<Batch, SshErrorReason> = Effect.suspend(() => {
    if (this.ready.length === 0) this.ask()
    const batch = this.ready
    if (Arr.isReadonlyArrayNonEmpty(batch)) {
      this.ready = []
      return Effect.succeed(batch)
    }
    if (this.failure !== undefined) return Effect.fail(this.failure)
    if (this.over) return Cause.done()
    return Effect.callback<Batch, SshErrorReason | Cause.Done>((resume) => {
      this.wake = () => resume(this.pull)
      return Effect.sync(() => {
        this.wake = undefined
      })
    })
  })
}

/** The names in a folder that is open. */
export const names = (client: Client, handle: Handle): Pull.Pull<Batch, SshErrorReason> =>
  new Names(client, handle).pull

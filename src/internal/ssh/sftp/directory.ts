import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import type { SshErrorReason } from "../../../errors/SshError.ts"
import * as Attributes from "./attributes.ts"
import type { Client } from "./client.ts"
import type { Handle } from "./operations.ts"
import { Cursor, Kind } from "./packet.ts"
import { type Receiver, refusal, statusOf } from "./requests.ts"

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

const entries = (folder: string) => (cursor: Cursor): Array<Entry> => {
  const found: Array<Entry> = []
  for (let count = cursor.number(); count > 0 && !cursor.short; count--) {
    const name = cursor.text()
    const longname = cursor.text()
    const attributes = Attributes.decode(cursor)
    if (name !== "." && name !== "..") found.push({ name, path: join(folder, name), attributes, longname })
  }
  return found
}

/** The names in a folder that is open, with several requests for them under way. */
export const names = ({ requests }: Client, { id, path }: Handle): Pull.Pull<Batch, SshErrorReason> => {
  const about = { operation: "readDirectory", path }
  const decode = entries(path)
  let ready: Array<Entry> = []
  let underWay = 0
  let window = ahead.first
  let ended = false
  let failure: SshErrorReason | undefined
  let wake: (() => void) | undefined

  // names may still come from a request that was made before the one that found the end
  const over = () => failure !== undefined || (ended && underWay === 0)

  const settled = () => {
    underWay--
    if (ready.length === 0 && !over()) return
    const woken = wake
    wake = undefined
    woken?.()
  }

  const ask = () => {
    while (!ended && failure === undefined && underWay < window) {
      underWay++
      const receiver: Receiver = {
        askedAt: performance.now(),
        answer: (kind, body) => {
          if (kind === Kind.Name) {
            const cursor = new Cursor(body)
            window = Math.min(ahead.most, 2 * window)
            for (const entry of decode(cursor)) ready.push(entry)
            if (cursor.short) failure ??= requests.violated("its answer to readDirectory is too short")
          } else if (kind !== Kind.Status) {
            failure ??= requests.violated(`it answered readDirectory with a packet of kind ${kind}`)
          } else if (statusOf(body) === 1) {
            ended = true
          } else if (!ended) {
            failure ??= refusal(about, body)
          }
          settled()
        },
        fail: (reason) => {
          failure ??= reason
          settled()
        }
      }
      requests.send(Kind.Readdir, [id], receiver)
    }
  }

  const pull: Pull.Pull<Batch, SshErrorReason> = Effect.suspend(() => {
    const batch = ready
    if (Arr.isReadonlyArrayNonEmpty(batch)) {
      ready = []
      return Effect.succeed(batch)
    }
    if (failure !== undefined) return Effect.fail(failure)
    if (over()) return Cause.done()
    ask()
    return Effect.callback<Batch, SshErrorReason | Cause.Done>((resume) => {
      wake = () => resume(pull)
      // an answer may have come at once
      if (failure !== undefined) wake()
      return Effect.sync(() => {
        wake = undefined
      })
    })
  })
  return pull
}

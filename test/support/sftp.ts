/** SFTP without SSH below it: a client and a server, or a client and the test, in one process. */
import * as Effect from "effect/Effect"
import { SshError, Unknown } from "../../src/errors/SshError.ts"
import { greet } from "../../src/internal/ssh/sftp/open.ts"
import { Cursor, type Field, Kind } from "../../src/internal/ssh/sftp/packet.ts"
import { Requests, scopeClosed } from "../../src/internal/ssh/sftp/requests.ts"
import * as SftpServer from "../../src/internal/ssh/testServer/sftp.ts"
import * as Sftp from "../../src/services/Sftp.ts"
import * as SshTransfer from "../../src/services/SshTransfer.ts"
import { diskFiles } from "./diskFiles.ts"
import { fragments } from "./fragments.ts"
import { temporaryFolder } from "./servers.ts"

const noCommands = () =>
  Effect.fail(new SshError({ server: "test", reason: new Unknown({ detail: "there are no commands here" }) }))

/** How bytes come from a server: in pieces of these sizes, or as they are sent. */
export interface Delivery {
  readonly sizes?: ReadonlyArray<number>
}

/** A client of a server that serves a new folder, with what it asked for and for how much it was let. */
export const served = Effect.fnUntraced(function*(
  options?: Omit<SftpServer.SftpOptions, "files">,
  { sizes }: Delivery = {}
) {
  const root = yield* temporaryFolder
  let granted = 0
  let closed = false
  const deliver = (bytes: Buffer) => {
    if (sizes === undefined) requests.receive(bytes)
    else for (const piece of fragments(bytes, sizes)) requests.receive(piece)
  }
  const requests = new Requests({
    now: () => performance.now(),
    send: (bytes) => {
      const copy = Buffer.from(bytes)
      setImmediate(() => serving.receive(copy))
      return true
    },
    grant: (bytes) => {
      granted += bytes
    },
    close: () => {
      closed = true
    }
  })
  const serving = SftpServer.serve({ ...options, files: diskFiles(root) }, (bytes) => void setImmediate(deliver, bytes))
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      requests.close(scopeClosed)
      serving.close()
    })
  )
  const client = yield* greet(requests)
  return {
    root,
    client,
    requests,
    sftp: Sftp.make(client, "test", SshTransfer.ofSftp("test", client, { exec: noCommands, execute: noCommands })),
    /** How many files and folders the server has open. */
    open: serving.open,
    granted: () => granted,
    closed: () => closed
  }
})

/** A packet that a client sent. */
export interface Sent {
  readonly kind: number
  readonly id: number
  readonly body: Cursor
}

/** A client whose server is the test. */
export const scripted = Effect.fnUntraced(function*(version = 3, extensions: ReadonlyArray<string> = []) {
  const sent: Array<Sent> = []
  let pending = Buffer.alloc(0)
  let closed = false
  const send = (bytes: Uint8Array) => {
    pending = Buffer.concat([pending, bytes])
    while (pending.length >= 9 && pending.length >= pending.readUInt32BE(0) + 4) {
      const packet = pending.subarray(0, pending.readUInt32BE(0) + 4)
      pending = pending.subarray(packet.length)
      sent.push({ kind: packet[4]!, id: packet.readUInt32BE(5), body: new Cursor(packet.subarray(9)) })
    }
    return true
  }
  const requests = new Requests({
    now: () => performance.now(),
    send,
    grant: () => {},
    close: () => {
      closed = true
    }
  })
  yield* Effect.addFinalizer(() => Effect.sync(() => requests.close(scopeClosed)))
  const arrive = (kind: number, fields: ReadonlyArray<Field>) => requests.receive(SftpServer.packet(kind, fields))
  return {
    requests,
    sent,
    /** The first packet of a kind that has not been taken yet; waits for it. */
    next: (kind: number) =>
      Effect.callback<Sent>((resume) => {
        const look = () => {
          const at = sent.findIndex((packet) => packet.kind === kind)
          if (at >= 0) resume(Effect.succeed(sent.splice(at, 1)[0]!))
          else setImmediate(look)
        }
        look()
      }),
    arrive,
    arriveRaw: (bytes: Uint8Array) => requests.receive(bytes),
    closed: () => closed,
    greeted: Effect.suspend(() => {
      setImmediate(() => arrive(Kind.Version, [version, ...extensions]))
      return greet(requests)
    })
  }
})

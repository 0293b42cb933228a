import type { Duplex } from "node:stream"

const LF = 10
/** Lines before the identification are allowed (RFC 4253, section 4.2) but must not be a way to fill the memory. */
const maxLine = 8192
const maxTotal = 65_536

/** What is known about the peer's identification line. */
export interface Identification {
  readonly complete: boolean
  /** The line (`SSH-2.0-OpenSSH_9.2p1 ...`), once it is there. */
  readonly line: string
  /** The beginning of what came instead, for an error message; nothing where a part of the line has come. */
  readonly received: string
}

const startsWithSsh = (line: ReadonlyArray<number>) =>
  line[0] === 0x53 && line[1] === 0x53 && line[2] === 0x48 && line[3] === 0x2d

/**
 * Hands the peer's identification line to ssh2 in one piece: ssh2 loses bytes of a line that comes in three pieces or
 * more. What the stream emits is held back until the line is complete, and from then on the stream is as it was, so
 * there is no wrapper on the way of the bytes that follow. A peer that sends no such line is cut off.
 */
export const inOnePiece = (duplex: Duplex): Identification => {
  const emit = duplex.emit.bind(duplex)
  const held: Array<Buffer> = []
  const line: Array<number> = []
  let lineLength = 0
  let total = 0
  let complete = false
  let identification = ""

  const endsIdentification = (chunk: Buffer): boolean => {
    for (const byte of chunk) {
      total++
      if (byte !== LF) {
        if (lineLength++ < 4) line.push(byte)
        continue
      }
      if (startsWithSsh(line)) return true
      line.length = lineLength = 0
    }
    return false
  }

  const release = () => {
    duplex.emit = emit
    complete = true
    const chunks = held.splice(0)
    const bytes = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
    identification = /^SSH-[^\r\n]*/m.exec(bytes.toString("latin1", 0, maxTotal))?.[0] ?? ""
    return duplex.emit("data", bytes)
  }

  duplex.emit = (event: string | symbol, ...args: Array<any>): boolean => {
    if (event !== "data") return emit(event, ...args)
    const chunk: Buffer = args[0]
    held.push(chunk)
    if (endsIdentification(chunk)) return release()
    if (lineLength > maxLine || total > maxTotal) {
      duplex.emit = emit
      duplex.destroy(new Error("it sent too much that is not an SSH identification"))
    }
    return true
  }

  return {
    get complete() {
      return complete
    },
    get line() {
      return identification
    },
    get received() {
      if (lineLength > 0 && "SSH-".startsWith(String.fromCharCode(...line))) return ""
      return Buffer.concat(held).toString("latin1", 0, 80)
    }
  }
}

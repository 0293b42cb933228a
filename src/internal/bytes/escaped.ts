import { isUtf8 } from "node:buffer"

const short: Record<string, string> = { "\"": "\\\"", "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" }

const escape = (character: string) => short[character] ?? `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`

/** Bytes as text in quotes: UTF-8 where they are that, and escapes for what cannot be seen. */
export const escaped = (bytes: Uint8Array): string => {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const text = isUtf8(buffer)
    ? buffer.toString("utf8").replace(/["\\\p{Cc}]/gu, escape)
    : buffer.toString("latin1").replace(/["\\\p{Cc}\x80-\xff]/gu, escape)
  return `"${text}"`
}

/** How much of long bytes is shown, and how much of it before what matters. */
const shown = 120
const before = 20

/** The same for bytes of any length: the part around `at`, and how many there are. */
export const excerpt = (bytes: Uint8Array, at = 0): string => {
  if (bytes.length <= shown) return escaped(bytes)
  const start = Math.max(0, Math.min(at - before, bytes.length - shown))
  const part = escaped(bytes.subarray(start, start + shown))
  return `${start === 0 ? "" : "…"}${part}${start + shown < bytes.length ? "…" : ""} (${bytes.length} bytes)`
}

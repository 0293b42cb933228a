/** What is expected of bytes: these very ones, a beginning in which an expression is found, or one that a predicate accepts. */
export type Expected = string | Uint8Array | RegExp | ((bytes: Uint8Array) => boolean)

/** What bytes came to: they are what was expected, with the first `used` of the last piece, or never will be. */
export type Verdict =
  | { readonly _tag: "Complete"; readonly used: number }
  | { readonly _tag: "Wrong"; readonly at: number }

/** Looks at the bytes that arrive, in pieces of any size, each once; `undefined` waits for more. */
export type Expectation = (piece: Uint8Array) => Verdict | undefined

const exactly = (wanted: Uint8Array): Expectation => {
  let have = 0
  return (piece) => {
    const count = Math.min(piece.length, wanted.length - have)
    for (let i = 0; i < count; i++) {
      if (piece[i] !== wanted[have + i]) return { _tag: "Wrong", at: have + i }
    }
    have += count
    return have === wanted.length ? { _tag: "Complete", used: count } : undefined
  }
}

/**
 * The shortest beginning that is accepted: it is asked about byte by byte, so that how the bytes were cut does not matter.
 * A beginning of more than `limit` bytes is wrong.
 */
const shortest = (limit: number, accepts: (byte: number) => boolean): Expectation => {
  let have = 0
  return (piece) => {
    for (const [index, byte] of piece.entries()) {
      if (have === limit) return { _tag: "Wrong", at: have }
      have++
      if (accepts(byte)) return { _tag: "Complete", used: index + 1 }
    }
    return undefined
  }
}

const accepted = (predicate: (bytes: Uint8Array) => boolean, limit: number): Expectation => {
  let bytes = Buffer.alloc(256)
  let length = 0
  return shortest(limit, (byte) => {
    if (length === bytes.length) bytes = Buffer.concat([bytes, Buffer.alloc(length)])
    bytes[length++] = byte
    return predicate(bytes.subarray(0, length))
  })
}

const found = (pattern: RegExp, limit: number): Expectation => {
  // an expression that remembers where it was would go on there
  const stateless = new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ""))
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
  let text = ""
  return shortest(limit, (byte) => {
    const more = decoder.decode(Uint8Array.of(byte), { stream: true })
    text += more
    return more !== "" && stateless.test(text)
  })
}

/** Begins to look; `limit` holds for expressions and predicates. */
export const expectation = (expected: Expected, limit: number): Expectation =>
  typeof expected === "function"
    ? accepted(expected, limit)
    : expected instanceof RegExp
    ? found(expected, limit)
    : exactly(typeof expected === "string" ? Buffer.from(expected) : expected)

/**
 * Node aborts the process, by an assertion in the destructor of its `Http2Session`, when the garbage collector takes the native
 * half of a session before that of a stream that has got a part of a block of headers, as when the connection broke within
 * one. So the half of the session is kept for as long as there is that of a stream. Both are behind a private symbol of
 * `node:http2`; where that is not there, nothing is kept.
 */
const keeper = new FinalizationRegistry<unknown>(() => {})

let symbol: symbol | undefined

/** The native half of a session or a stream. */
export const handleOf = (http2: object): object | undefined => {
  symbol ??= Object.getOwnPropertySymbols(http2).find(({ description }) => description === "kHandle")
  const handle: unknown = symbol === undefined ? undefined : Reflect.get(http2, symbol)
  return typeof handle === "object" && handle !== null ? handle : undefined
}

/** Keeps what is native of a session until that of a stream is collected. Does nothing for what is not of `node:http2`. */
export const keepFor = (stream: object, session: object): void => {
  const [owner, kept] = [handleOf(stream), handleOf(session)]
  if (owner !== undefined && kept !== undefined) keeper.register(owner, kept)
}

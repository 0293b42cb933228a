import * as Result from "effect/Result"
import { Unsupported } from "../../../errors/SshError.ts"
import * as Algorithms from "../algorithms.ts"
import * as NameList from "./nameList.ts"

const keywords = [
  ["cipher", "ciphers"],
  ["keyExchange", "kexalgorithms"],
  ["mac", "macs"],
  ["hostKey", "hostkeyalgorithms"]
] as const

/** What some keywords have offered to the server; what is not known here is left out, and something has to be left. */
export const wanted = (
  written: (keyword: string) => string | undefined
): Result.Result<Algorithms.Wanted, Unsupported> => {
  const wanted: { -readonly [K in keyof Algorithms.Wanted]: Algorithms.Wanted[K] } = {}
  for (const [kind, keyword] of keywords) {
    const list = written(keyword)
    if (list === undefined) continue
    const names = NameList.expand(list, { defaults: Algorithms.defaults[kind], supported: Algorithms.supported[kind] })
    if (names.length === 0) {
      const refusal = Algorithms.offer({ [kind]: /^[+^-]/.test(list) ? [] : list.split(",") }, [])
      if (refusal instanceof Unsupported) return Result.fail(refusal)
    }
    wanted[kind] = names
  }
  if (written("compression") === "yes") wanted.compression = ["zlib@openssh.com", "none"]
  return Result.succeed(wanted)
}

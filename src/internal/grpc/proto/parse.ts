import * as Result from "effect/Result"
import protobuf from "protobufjs"
import { Syntax } from "../../../errors/GrpcSchemaError.ts"
import type * as Descriptor from "./descriptor.ts"
import type * as Options from "./options.ts"
import * as Tree from "./tree.ts"

/** A file as it is written: its types are not looked up yet. */
export interface Parsed {
  readonly file: Descriptor.File
  readonly imports: ReadonlyArray<Import>
  /** The options that files add to those of protobuf, which can be understood when all files are there. */
  readonly custom: ReadonlyArray<Options.Custom>
}

export interface Import {
  readonly name: string
  readonly kind: "plain" | "public" | "weak"
}

interface Read extends Tree.Head {
  readonly imports: ReadonlyArray<Import>
}

/** What protobufjs's parser reads and does not tell: the order and the kind of imports, the syntax, and long numbers. */
const headOf = (text: string): Read => {
  const tokens = protobuf.tokenize(text, false)
  const quoted = (quote: string | null): string => {
    const value = tokens.next() ?? ""
    tokens.skip(quote ?? "")
    return value
  }
  const imports: Array<Import> = []
  const longs = new Map<number, string>()
  let syntax = "proto2"
  let depth = 0
  for (let token = tokens.next(); token !== null; token = tokens.next()) {
    if (token === "{") depth++
    else if (token === "}") depth--
    else if (token === "\"" || token === "'") quoted(token)
    else if (token === "default" && tokens.skip("=", true)) {
      const literal = tokens.peek() ?? ""
      if (/^-?\d{16,}$/.test(literal)) longs.set(Number(literal), literal)
    } else if (depth > 0) continue
    else if (token === "syntax" || token === "edition") {
      tokens.skip("=")
      syntax = quoted(tokens.next())
    } else if (token === "import") {
      const word = tokens.next()
      const kind = word === "public" || word === "weak" ? word : "plain"
      // an import for options only is none of ours
      if (word !== "option") imports.push({ name: quoted(kind === "plain" ? word : tokens.next()), kind })
    }
  }
  return { imports, syntax, longs }
}

/** Reads the text of one file. `shown` is how errors call it. */
export const parse = (name: string, shown: string, source: string): Result.Result<Parsed, Syntax> =>
  Result.try({
    try: () => {
      const text = source.replace(/^\ufeff/, "")
      // each file on its own: in a shared tree, files of one package would mix their options
      const root = new protobuf.Root()
      const { package: packageName } = protobuf.parse(text, root, { keepCase: true, alternateCommentMode: true })
      const head = headOf(text)
      return { ...Tree.write(root, name, packageName, head), imports: head.imports }
    },
    catch: (cause) => {
      const message = cause instanceof Error ? cause.message : String(cause)
      const line = /\(line (\d+)\)$/.exec(message)
      return new Syntax({
        file: shown,
        line: line?.[1] === undefined ? undefined : Number(line[1]),
        detail: message.replace(/ \(line \d+\)$/, "")
      })
    }
  })

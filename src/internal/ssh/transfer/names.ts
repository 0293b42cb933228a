import { randomBytes } from "node:crypto"
import { TransferProtocol } from "../../../errors/SshError.ts"

const separators = process.platform === "win32" ? /[/\\:\0]/ : /[/\0]/

/** Why a name that a server gave must not become part of a path: it would lead out of the folder that it is said to be in. */
export const refusal = (name: string): TransferProtocol | undefined =>
  name !== "" && name !== "." && name !== ".." && !separators.test(name)
    ? undefined
    : new TransferProtocol({ detail: `the server named a file ${JSON.stringify(name)}, which is no name of a file` })

/** The path of an entry of a folder. */
export const join = (folder: string, name: string): string =>
  folder === "" ? name : folder.endsWith("/") ? `${folder}${name}` : `${folder}/${name}`

/** The folder and the name in it that a path is made of. */
export const split = (path: string): readonly [folder: string, name: string] => {
  const bare = path.replace(/(?<=.)\/+$/, "")
  const slash = bare.lastIndexOf("/")
  return slash < 0 ? [".", bare] : [bare.slice(0, slash) || "/", bare.slice(slash + 1)]
}

/** Tells the temporary files of this process from those of all others. */
const own = randomBytes(6).toString("hex")
let temporaries = 0

/** A name beside a path, where something can grow that is renamed to it when it is whole. */
export const temporaryBeside = (path: string): string => {
  const [folder, name] = split(path)
  // a name has 255 bytes at most, and a UTF-16 code unit takes up to three
  return join(folder, `.${name.slice(0, 70)}.${own}${(temporaries++).toString(36)}`)
}

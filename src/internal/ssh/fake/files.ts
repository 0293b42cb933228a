import { MemoryFiles } from "../testServer/memoryFiles.ts"

const forWriting = { read: false, write: true, append: false, create: true, truncate: true, exclusive: false }

/** Files in memory, with these to begin with, in the folders that they need. A path that ends with `/` is a folder. */
export const memoryFiles = (
  initial: Readonly<Record<string, string | Uint8Array>>,
  now: () => number
): MemoryFiles => {
  const files = MemoryFiles.make(now)
  const folders = new Set<string>()
  for (const [path, content] of Object.entries(initial)) {
    const names = path.split("/").filter((name) => name !== "")
    const file = path.endsWith("/") ? undefined : names.pop()
    let folder = ""
    for (const name of names) {
      folder += `/${name}`
      if (!folders.has(folder)) files.makeFolder(folder, 0o755)
      folders.add(folder)
    }
    if (file === undefined) continue
    files.open(`${folder}/${file}`, forWriting, 0o644).write(
      0n,
      typeof content === "string" ? Buffer.from(content) : content
    )
  }
  return files.forUser
}

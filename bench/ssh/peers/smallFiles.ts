/** An sshd, and 10,000 files of 1 KiB: `small` has ten folders of them. */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { serve } from "./sshd.ts"

/** Different for each, and the same in each run. */
const contentOf = (folder: number, file: number) => Buffer.alloc(1024, `${folder}/${file} `)

export default async () => {
  const address = await serve()
  for (let i = 0; i < 10; i++) {
    const folder = join(address.folder, "small", String(i))
    mkdirSync(folder, { recursive: true })
    for (let j = 0; j < 1000; j++) writeFileSync(join(folder, String(j)), contentOf(i, j))
  }
  return address
}

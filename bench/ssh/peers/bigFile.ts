/** An sshd, and `big`: a file of 256 MiB. */
import { closeSync, openSync, writeSync } from "node:fs"
import { join } from "node:path"
import { chunk, chunks } from "../../tcp/peers/pour.ts"
import { serve } from "./sshd.ts"

export default async () => {
  const address = await serve()
  const file = openSync(join(address.folder, "big"), "w")
  for (let i = 0; i < chunks; i++) writeSync(file, chunk)
  closeSync(file)
  return address
}

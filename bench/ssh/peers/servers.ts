/** An sshd, and `defaults`: another one with all the algorithms that OpenSSH offers by default. */
import { serve, start } from "./sshd.ts"

export default async () => {
  const address = await serve()
  await start(address.folder, "defaults", "")
  return address
}

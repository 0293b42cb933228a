/** A raw server that sends 256 MiB to whoever connects, and an sshd to reach it through. */
import source from "../../tcp/peers/source.ts"
import { serve } from "./sshd.ts"

export default async () => {
  const { folder, port } = await serve()
  return { ...await source(), via: port, folder }
}

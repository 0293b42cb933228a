import { Effect } from "effect"
import { TcpClient } from "hawser"

export const program = Effect.gen(function*() {
  const tcp = yield* TcpClient.TcpClient
  const plain = yield* tcp.connect("mail.internal:25")
  yield* plain.readLine() // 220 mail.internal ESMTP
  yield* plain.write("STARTTLS\r\n")
  yield* plain.readLine() // 220 go ahead
  const mail = yield* plain.upgradeTls({ ca: "./internal-ca.pem" })
  yield* mail.write("EHLO client\r\n")
}).pipe(Effect.scoped)

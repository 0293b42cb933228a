import { Effect } from "effect"
import { TcpClient } from "hawser"

const ask = TcpClient.TcpClient.use((tcp) => tcp.requestString("db.internal:5432", "STATUS\n"))

export const program = ask.pipe(
  // what may work another time
  Effect.retry({ times: 3, while: (error) => error.isRetryable }),
  // one reason
  Effect.catchReason("DialError", "ProxyAuthentication", () => Effect.succeed("the proxy wants a password")),
  // all of a service's errors
  Effect.catchTag("TcpError", (error) => Effect.succeed(`the connection failed: ${error.message}`))
)

/** The server of ping-pong, and a proxy in front of it. */
import answerer from "./answerer.ts"
import { behindProxy } from "./proxy.ts"

export default behindProxy(answerer)

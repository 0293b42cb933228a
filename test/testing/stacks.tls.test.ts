/** TLS between a client and a server over every way, from the beginning or from the middle of a connection. */
import { onStacks, stacks } from "../support/stacks.ts"
import { startTls, tls } from "../support/stackTraffic.ts"

onStacks("TLS over the test network", stacks.plain, (way) => tls(way, 300_000))

onStacks("STARTTLS over the test network", stacks.all, (way) => startTls(way, 300_000))

/** gRPC over every way, our client with our server: a call of each kind, without TLS of its own and with it. */
import { onStacks, stacks } from "../support/stacks.ts"
import { grpc } from "../support/stackTraffic.ts"

onStacks("gRPC over the test network", stacks.plain, (way) => grpc(way, false))

onStacks("gRPC in TLS over the test network", stacks.plain, (way) => grpc(way, true))

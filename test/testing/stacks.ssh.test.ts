/** SSH over every way: commands, files, and forwarding in every direction. */
import { onStacks, stacks } from "../support/stacks.ts"
import { ssh } from "../support/stackTraffic.ts"

onStacks("SSH over the test network", stacks.all, (way) => ssh(way, 100_000))

/** The same where nothing arrives as it was sent: byte by byte, and in random pieces with random delays. */
import { onStacks, stacks } from "../support/stacks.ts"
import { grpc, smallCalls, ssh, startTls, tcp, tls } from "../support/stackTraffic.ts"

const byteByByte = { defaults: { fragment: 1 } }

onStacks("TCP, byte by byte,", stacks.singles, (way) => tcp(way, 1000), byteByByte)
onStacks("TLS, byte by byte,", stacks.light, (way) => tls(way, 1000), byteByByte)
onStacks("STARTTLS, byte by byte,", stacks.light, (way) => startTls(way, 1000), byteByByte)
onStacks("SSH, byte by byte,", [[], ["http"]], (way) => ssh(way, 100), byteByByte)
onStacks("gRPC, byte by byte,", stacks.light, (way) => grpc(way, false, smallCalls), byteByByte)
onStacks("gRPC in TLS, byte by byte,", stacks.light, (way) => grpc(way, true, smallCalls), byteByByte)

const rough = {
  seed: 1,
  defaults: {
    fragment: { min: 1, max: 3000 },
    latency: { min: "1 millis", max: "40 millis" },
    coalesce: "2 millis",
    bandwidth: 10_000_000
  }
} as const

onStacks("TCP on rough roads", stacks.few, (way) => tcp(way, 50_000), rough)
onStacks("TLS on rough roads", stacks.fewPlain, (way) => tls(way, 50_000), rough)
onStacks("STARTTLS on rough roads", stacks.few, (way) => startTls(way, 50_000), rough)
onStacks("SSH on rough roads", stacks.few, (way) => ssh(way, 20_000), rough)
onStacks("gRPC on rough roads", stacks.fewPlain, (way) => grpc(way, false), rough)
onStacks("gRPC in TLS on rough roads", stacks.fewPlain, (way) => grpc(way, true), rough)

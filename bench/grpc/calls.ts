/** Calls of three kinds with messages of a hundred bytes and a little, over one connection. */
import type { Benchmark, Pair, Suite } from "../harness/benchmark.ts"
import * as grpcJs from "./grpcJs.ts"
import { hawser, hawserByName, hawserDirect, hawserThroughHop } from "./hawser.ts"
import { connectNode, niceGrpc } from "./promises.ts"

const server = new URL("peers/server.ts", import.meta.url)
const streams = new URL("peers/streams.ts", import.meta.url)

const information: ReadonlyArray<Pair> = [
  { contender: "hawser by name", baseline: "grpc-js" },
  { contender: "nice-grpc", baseline: "grpc-js" },
  { contender: "connect-node", baseline: "grpc-js" }
]

const unary = (concurrency: number): Benchmark => ({
  name: `unary c=${concurrency}`,
  unit: "calls",
  checkLimit: 100,
  measures: "client",
  peer: server,
  contenders: {
    "hawser": hawser.unary(concurrency),
    "hawser by name": hawserByName.unary(concurrency),
    "grpc-js": grpcJs.unary(concurrency),
    "nice-grpc": niceGrpc.unary(concurrency),
    "connect-node": connectNode.unary(concurrency)
  },
  pairs: [
    { contender: "hawser", baseline: "grpc-js", atLeast: 1 },
    { contender: "hawser", baseline: "nice-grpc", atLeast: 1.15 },
    { contender: "hawser", baseline: "connect-node", atLeast: 2 },
    ...information
  ]
})

const suite: Suite = {
  url: import.meta.url,
  benchmarks: [
    unary(1),
    unary(64),
    {
      name: "server stream",
      unit: "messages",
      checkLimit: 2,
      measures: "client",
      peer: streams,
      contenders: {
        "hawser": hawser.serverStream,
        "hawser by name": hawserByName.serverStream,
        "grpc-js": grpcJs.serverStream,
        "nice-grpc": niceGrpc.serverStream,
        "connect-node": connectNode.serverStream
      },
      pairs: [
        { contender: "hawser", baseline: "grpc-js", atLeast: 0.9 },
        { contender: "hawser", baseline: "nice-grpc", atLeast: 1 },
        ...information
      ]
    },
    {
      name: "client stream",
      unit: "messages",
      checkLimit: 2,
      measures: "client",
      peer: streams,
      contenders: {
        "hawser": hawser.clientStream,
        "hawser by name": hawserByName.clientStream,
        "grpc-js": grpcJs.clientStream,
        "nice-grpc": niceGrpc.clientStream,
        "connect-node": connectNode.clientStream
      },
      pairs: [{ contender: "hawser", baseline: "grpc-js", atLeast: 0.9 }, ...information]
    },
    {
      name: "unary through dialer",
      unit: "calls",
      checkLimit: 100,
      measures: "client",
      peer: server,
      contenders: {
        "hawser": hawserThroughHop.unary(64),
        "hawser direct": hawserDirect.unary(64),
        "grpc-js": grpcJs.unary(64)
      },
      pairs: [
        { contender: "hawser", baseline: "hawser direct", atLeast: 0.95 },
        { contender: "hawser", baseline: "grpc-js" }
      ]
    }
  ]
}

export default suite

import { createFileRegistry, type DescService, fromBinary, toBinary } from "@bufbuild/protobuf"
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Grpc from "../../src/services/Grpc.ts"
import * as GrpcSchema from "../../src/services/GrpcSchema.ts"
import * as GrpcServer from "../../src/services/GrpcServer.ts"
import * as Listener from "../../src/services/Listener.ts"
import { ShopService } from "../support/grpc/generated/shop.ts"
import { Shop } from "../support/grpc/generated/shop_pb.js"
import { grpcJsClient, type Message } from "../support/grpc/grpcJs.ts"
import { leavesNothing } from "../support/leaks.ts"
import { describeOnNetworks } from "../support/network.ts"

const schema = GrpcSchema.fromSource(`
  syntax = "proto3";
  package acme;
  import "google/protobuf/timestamp.proto";
  message Clock { google.protobuf.Timestamp at = 1; map<string, int64> offsets = 2; }
  message Zone { string name = 1; }
  // Says how late it is.
  service Clocks { rpc Read(Zone) returns (Clock); }
`)

const clocks = GrpcServer.service(schema, "acme.Clocks", {
  Read: GrpcServer.unary(({ name }) => Effect.succeed({ offsets: { [String(name)]: 3600n } }))
})

const serve = Effect.fnUntraced(function*(
  services: ReadonlyArray<GrpcServer.Service>,
  options: Partial<GrpcServer.Options> = {}
) {
  const layer = GrpcServer.layer({ ...options, services })
  const { address } = Context.get(yield* Layer.build(layer), GrpcServer.GrpcServer)
  assert(NetAddress.isInetAddress(address))
  return address
})

const own = [
  "grpc.health.v1.Health",
  "grpc.reflection.v1.ServerReflection",
  "grpc.reflection.v1alpha.ServerReflection"
]

describeOnNetworks("the reflection of a gRPC server", (test) => {
  const connect = (address: NetAddress.SocketAddress) =>
    Effect.flatMap(Layer.build(Grpc.layer), (context) =>
      Context.get(context, Grpc.Grpc).connect({
        url: `http://${NetAddress.formatSocketAddress(address)}`,
        schema: GrpcSchema.fromReflection()
      }))

  test("keeps apart what two schemas call the same", () =>
    Effect.gen(function*() {
      const answering = (name: string) =>
        GrpcServer.service(
          GrpcSchema.fromSource(`
            syntax = "proto3";
            package acme.${name};
            message Nothing {}
            message Name { string ${name} = 1; }
            service Who { rpc Are(Nothing) returns (Name); }
          `),
          `acme.${name}.Who`,
          { Are: GrpcServer.unary(() => Effect.succeed({ [name]: name })) }
        )
      const channel = yield* connect(yield* serve([answering("one"), answering("two")]))
      for (const name of ["one", "two"]) {
        assert.deepStrictEqual(yield* channel.unary(`acme.${name}.Who/Are`, {}), { [name]: name })
      }
    }))

  test("is all that a client needs", () =>
    Effect.gen(function*() {
      const channel = yield* connect(yield* serve([clocks]))
      assert.includeMembers(channel.services.map(({ name }) => name), ["acme.Clocks", "grpc.health.v1.Health"])
      assert.deepStrictEqual(yield* channel.unary("acme.Clocks/Read", { name: "CET" }), { offsets: { CET: 3600n } })
    }))
})

describe("the reflection of a gRPC server, for grpc-js", () => {
  const test = (title: string, body: () => Effect.Effect<unknown, unknown, Listener.Listener | Scope.Scope>) =>
    it.live(title, () => leavesNothing(Effect.provide(body(), Listener.layer)))

  const asking = Effect.fnUntraced(function*(address: NetAddress.SocketAddress, version: string) {
    const client = yield* grpcJsClient(
      address,
      `grpc/reflection/${version}/reflection.proto`,
      `grpc.reflection.${version}.ServerReflection`
    )
    return (...requests: ReadonlyArray<Message>) => Stream.runCollect(client.bidi("ServerReflectionInfo", requests))
  })

  /** What protobuf-es makes of an answer with files, in which each must find what it imports. */
  const serviceIn = (answer: Message | undefined, name: string): DescService => {
    const files: ReadonlyArray<Buffer> = answer?.["fileDescriptorResponse"].fileDescriptorProto
    const file = files.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes)).toReversed()
    const service = createFileRegistry(
      fromBinary(
        FileDescriptorSetSchema,
        toBinary(FileDescriptorSetSchema, { $typeName: FileDescriptorSetSchema.typeName, file })
      )
    ).getService(name)
    assert.isDefined(service)
    return service
  }

  for (const version of ["v1", "v1alpha"]) {
    test(`lists services and describes them (${version})`, () =>
      Effect.gen(function*() {
        const ask = yield* asking(yield* serve([clocks]), version)
        const [services, ...answers] = yield* ask(
          { host: "here", listServices: "" },
          ...["acme.Clocks", ...own].map((fileContainingSymbol) => ({ fileContainingSymbol })),
          { fileContainingSymbol: "acme.Nothing" },
          { fileByFilename: "google/protobuf/timestamp.proto" }
        )
        assert.deepStrictEqual(services, {
          validHost: "here",
          originalRequest: { host: "here", listServices: "" },
          listServicesResponse: { service: ["acme.Clocks", ...own].map((name) => ({ name })) }
        })
        const { method } = serviceIn(answers[0], "acme.Clocks")
        assert.strictEqual(method["read"]?.output.field["at"]?.message?.typeName, "google.protobuf.Timestamp")
        own.forEach((name, index) => assert.isNotEmpty(serviceIn(answers[index + 1], name).methods))
        assert.strictEqual(answers[4]?.["errorResponse"].errorCode, 5)
        assert.lengthOf(answers[5]?.["fileDescriptorResponse"].fileDescriptorProto, 1)
      }))
  }

  test("describes services of protobuf-es, and names those of ts-proto", () =>
    Effect.gen(function*() {
      for (const described of [true, false]) {
        const shop = described ? GrpcServer.partial(Shop, {}) : GrpcServer.partial(ShopService, {})
        const ask = yield* asking(yield* serve([shop]), "v1")
        const [services, answer] = yield* ask({ listServices: "" }, { fileContainingSymbol: "acme.shop.v1.Shop" })
        assert.deepStrictEqual(
          services?.["listServicesResponse"].service,
          ["acme.shop.v1.Shop", ...own].map((name) => ({ name }))
        )
        if (described) assert.lengthOf(serviceIn(answer, "acme.shop.v1.Shop").methods, Shop.methods.length)
        else assert.strictEqual(answer?.["errorResponse"].errorCode, 5)
      }
    }))

  test("is not there where that is not wanted", () =>
    Effect.gen(function*() {
      const ask = yield* asking(yield* serve([clocks], { reflection: false }), "v1")
      assert.strictEqual((yield* Effect.flip(ask({ listServices: "" }))).code, 12)
    }))
})

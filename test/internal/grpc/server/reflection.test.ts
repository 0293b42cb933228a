import { fromBinary } from "@bufbuild/protobuf"
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Reflection from "../../../../src/internal/grpc/server/reflection.ts"
import * as GrpcSchema from "../../../../src/services/GrpcSchema.ts"
import { implementationOf } from "../../../support/implementations.ts"

const orders = `
  syntax = "proto2";
  package acme;
  import "acme/money.proto";
  import "google/protobuf/timestamp.proto";
  message Order {
    required int64 id = 1;
    optional Money total = 2;
    oneof by { string person = 3; string company = 4; }
    optional google.protobuf.Timestamp at = 5;
    message Item {
      enum Colour { RED = 0; BLUE = 1; }
      optional Colour colour = 1;
      extend Order { optional string note = 101; }
    }
    extensions 100 to 199;
  }
  enum Size { SMALL = 0; }
  extend Order { optional bool urgent = 120; }
  service Orders {
    rpc Get(Order) returns (Order);
  }
`

const sources = {
  "acme/orders.proto": orders,
  "acme/money.proto": `
    syntax = "proto3";
    package acme;
    import "acme/currency.proto";
    message Money { int64 units = 1; Currency currency = 2; }
  `,
  "acme/currency.proto": `
    syntax = "proto3";
    package acme;
    message Currency { string code = 1; }
  `
}

const timestamp = "google/protobuf/timestamp.proto"

/** What `acme/orders.proto` imports, the nearest first. */
const imported = ["acme/money.proto", timestamp, "acme/currency.proto"]

const acme = Effect.map(GrpcSchema.fromSources(sources), ({ files }) => ({ name: "acme.Orders", files }))

const isFiles = (message: object): message is {
  readonly fileDescriptorResponse: { readonly fileDescriptorProto: ReadonlyArray<Uint8Array> }
} => "fileDescriptorResponse" in message

/** The names of the files in an answer, or the answer. */
const shown = (message: object): unknown =>
  isFiles(message)
    ? message.fileDescriptorResponse.fileDescriptorProto.map((bytes) =>
      fromBinary(FileDescriptorProtoSchema, bytes).name
    )
    : message

const ask = (
  services: ReadonlyArray<Reflection.ReflectedService>,
  requests: ReadonlyArray<object>,
  version: "v1" | "v1alpha" = "v1"
) =>
  implementationOf(Reflection.make(services), `grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`)
    .bidi(Stream.fromArray(requests))
    .pipe(Stream.runCollect)

const askAcme = Effect.fnUntraced(function*(...requests: ReadonlyArray<object>) {
  return (yield* ask([yield* acme], requests)).map(shown)
})

const notFound = (request: object, wanted: string) => ({
  validHost: "",
  originalRequest: { host: "", ...request },
  errorResponse: { errorCode: 5, errorMessage: `not found: ${wanted}` }
})

describe("reflection of a server", () => {
  for (const version of ["v1", "v1alpha"] as const) {
    it.effect(`lists what there is, itself too (${version})`, () =>
      Effect.gen(function*() {
        const services = [yield* acme, { name: "acme.Generated", files: [] }]
        const request = { host: "orders.internal", listServices: "*" }
        assert.deepStrictEqual(yield* ask(services, [request], version), [{
          validHost: "orders.internal",
          originalRequest: request,
          listServicesResponse: {
            service: [
              { name: "acme.Generated" },
              { name: "acme.Orders" },
              { name: "grpc.reflection.v1.ServerReflection" },
              { name: "grpc.reflection.v1alpha.ServerReflection" }
            ]
          }
        }])
      }))

    it.effect(`describes itself (${version})`, () =>
      Effect.gen(function*() {
        for (const described of ["v1", "v1alpha"]) {
          const fileContainingSymbol = `grpc.reflection.${described}.ServerReflection`
          const [answer] = yield* ask([], [{ fileContainingSymbol }], version)
          assert.deepStrictEqual(answer && shown(answer), [`grpc/reflection/${described}/reflection.proto`])
        }
      }))
  }

  it.effect("gives a file by its name, and what it imports", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* askAcme({ fileByFilename: "acme/orders.proto" }), [
        ["acme/orders.proto", ...imported]
      ])
      assert.deepStrictEqual(yield* askAcme({ fileByFilename: timestamp }), [[timestamp]])
      const unknown = { fileByFilename: "acme/nothing.proto" }
      assert.deepStrictEqual(yield* askAcme(unknown), [notFound(unknown, "acme/nothing.proto")])
    }))

  it.effect("gives each imported file once, and those that are asked for always", () =>
    Effect.gen(function*() {
      const answers = yield* askAcme(
        { fileByFilename: "acme/money.proto" },
        { fileByFilename: "acme/orders.proto" },
        { fileByFilename: "acme/orders.proto" },
        { fileByFilename: "acme/currency.proto" }
      )
      assert.deepStrictEqual(answers, [
        ["acme/money.proto", "acme/currency.proto"],
        ["acme/orders.proto", timestamp],
        ["acme/orders.proto"],
        ["acme/currency.proto"]
      ])
    }))

  it.effect("finds the file of everything that has a name", () =>
    Effect.gen(function*() {
      const names = [
        "acme.Order",
        "acme.Order.id",
        "acme.Order.by",
        "acme.Order.person",
        "acme.Order.Item",
        "acme.Order.Item.Colour",
        "acme.Order.Item.RED",
        "acme.Order.Item.colour",
        "acme.Order.Item.note",
        "acme.Size",
        "acme.SMALL",
        "acme.urgent",
        "acme.Orders",
        "acme.Orders.Get"
      ]
      for (const fileContainingSymbol of names) {
        const [answer] = yield* askAcme({ fileContainingSymbol })
        assert.deepStrictEqual(answer, ["acme/orders.proto", ...imported], fileContainingSymbol)
      }
      assert.deepStrictEqual(yield* askAcme({ fileContainingSymbol: "google.protobuf.Timestamp.nanos" }), [[timestamp]])
      for (const fileContainingSymbol of ["acme", "acme.Nothing", "acme.Orders.Put", "acme.Size.SMALL", "", "Order"]) {
        const request = { fileContainingSymbol }
        assert.deepStrictEqual(yield* askAcme(request), [notFound(request, fileContainingSymbol)])
      }
    }))

  it.effect("finds extensions", () =>
    Effect.gen(function*() {
      const file = ["acme/orders.proto", ...imported]
      const extension = (containingType: string, extensionNumber: number) => ({
        fileContainingExtension: { containingType, extensionNumber }
      })
      assert.deepStrictEqual(yield* askAcme(extension("acme.Order", 101)), [file])
      assert.deepStrictEqual(yield* askAcme(extension("acme.Order", 120)), [file])
      for (const request of [extension("acme.Order", 102), extension("acme.Money", 101)]) {
        const { containingType, extensionNumber } = request.fileContainingExtension
        assert.deepStrictEqual(
          yield* askAcme(request),
          [notFound(request, `extension ${extensionNumber} of ${containingType}`)]
        )
      }
    }))

  it.effect("lists the numbers of extensions", () =>
    Effect.gen(function*() {
      const numbers = (type: string, extensionNumber: ReadonlyArray<number>) => ({
        validHost: "",
        originalRequest: { host: "", allExtensionNumbersOfType: type },
        allExtensionNumbersResponse: { baseTypeName: type, extensionNumber }
      })
      const [some, none, unknown] = yield* askAcme(
        { allExtensionNumbersOfType: "acme.Order" },
        { allExtensionNumbersOfType: "acme.Money" },
        { allExtensionNumbersOfType: "acme.Nothing" }
      )
      assert.deepStrictEqual(some, numbers("acme.Order", [101, 120]))
      assert.deepStrictEqual(none, numbers("acme.Money", []))
      assert.deepStrictEqual(unknown, notFound({ allExtensionNumbersOfType: "acme.Nothing" }, "acme.Nothing"))
    }))

  it.effect("goes on after what it does not find", () =>
    Effect.gen(function*() {
      const answers = yield* askAcme({ fileByFilename: "nothing" }, { fileByFilename: "acme/currency.proto" })
      assert.deepStrictEqual(answers[1], ["acme/currency.proto"])
    }))

  it.effect("refuses a request that asks for nothing", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* Effect.flip(askAcme({ host: "x" })))._tag, "InvalidArgument")
    }))

  it.effect("knows the names of services that nothing describes", () =>
    Effect.gen(function*() {
      const request = { fileContainingSymbol: "acme.Generated" }
      const answers = yield* ask([{ name: "acme.Generated", files: [] }], [request])
      assert.deepStrictEqual(answers, [notFound(request, "acme.Generated")])
    }))

  it.effect("gives files of one name from two schemas two names", () =>
    Effect.gen(function*() {
      const service = (name: string, common = name) =>
        Effect.map(
          GrpcSchema.fromSources({
            "common.proto": `syntax = "proto3"; package common; message ${common} {}`,
            "middle.proto":
              `syntax = "proto3"; import "common.proto"; message ${name}Middle { common.${common} of = 1; }`,
            "service.proto": `
              syntax = "proto3";
              import "middle.proto";
              import "google/protobuf/empty.proto";
              service ${name} { rpc Get(google.protobuf.Empty) returns (${name}Middle); }
            `
          }),
          ({ files }) => ({ name, files })
        )
      const one = yield* service("One")
      const services = [one, yield* service("Two"), { ...one, files: [...one.files] }, yield* service("Three", "Two")]
      const empty = "google/protobuf/empty.proto"
      const expected = {
        One: ["service.proto", "middle.proto", empty, "common.proto"],
        Two: ["2/service.proto", "2/middle.proto", empty, "2/common.proto"],
        Three: ["3/service.proto", "3/middle.proto", empty, "2/common.proto"]
      }
      for (const [name, files] of Object.entries(expected)) {
        const [answer] = yield* ask(services, [{ fileContainingSymbol: name }])
        assert(answer !== undefined && isFiles(answer))
        const descriptors = answer.fileDescriptorResponse.fileDescriptorProto.map((bytes) =>
          fromBinary(FileDescriptorProtoSchema, bytes)
        )
        assert.deepStrictEqual(descriptors.map((file) => file.name), files)
        const [service, middle] = descriptors
        assert.strictEqual(service?.service[0]?.name, name)
        assert.deepStrictEqual(service?.dependency, [files[1], empty])
        assert.deepStrictEqual(middle?.dependency, [files[3]])
        for (const file of files) {
          const [byName] = yield* ask(services, [{ fileByFilename: file }])
          assert.strictEqual(byName && Array.of(shown(byName)).flat()[0], file)
        }
      }
      const unknown = { fileByFilename: "4/service.proto" }
      assert.deepStrictEqual(yield* ask(services, [unknown]), [notFound(unknown, "4/service.proto")])
    }))

  it.effect("leaves out files that are not there", () =>
    Effect.gen(function*() {
      const { files, name } = yield* acme
      const incomplete = files.filter((file) => file.name !== timestamp)
      const [answer] = yield* ask([{ name, files: incomplete }], [{ fileContainingSymbol: name }])
      assert.deepStrictEqual(answer && shown(answer), ["acme/orders.proto", "acme/money.proto", "acme/currency.proto"])
    }))
})

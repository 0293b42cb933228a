import { assert, describe } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as GrpcSchema from "../../../../src/services/GrpcSchema.ts"
import * as GrpcServer from "../../../../src/services/GrpcServer.ts"
import * as Listener from "../../../../src/services/Listener.ts"
import { connectTo, onLoopback } from "../../../support/grpc.ts"
import { honestly, reflectionServer } from "../../../support/grpc/reflectionServer.ts"
import { reasonOf } from "../../../support/reason.ts"

const orders = GrpcSchema.fromSources({
  "acme/orders.proto": `
    syntax = "proto3";
    package acme;
    import "acme/money.proto";
    import "google/protobuf/timestamp.proto";
    message Order { Money total = 1; google.protobuf.Timestamp at = 2; map<string, Money> parts = 3; }
    service Orders { rpc Get(Order) returns (Order); }
    service Stock { rpc Watch(Money) returns (stream Order); }`,
  "acme/money.proto": `syntax = "proto3"; package acme; import "acme/unit.proto"; message Money { Unit unit = 1; }`,
  "acme/unit.proto": `syntax = "proto3"; package acme; message Unit { int64 count = 1; }`
})

const connect = (port: number, options?: GrpcSchema.ReflectionOptions) =>
  Effect.scoped(connectTo(port, { schema: GrpcSchema.fromReflection(options) })).pipe(
    Effect.catchTag("TlsConfigError", Effect.die)
  )

const file = (...files: ReadonlyArray<Uint8Array>) => [{ fileDescriptorResponse: { fileDescriptorProto: files } }]

const list = (
  ...names: ReadonlyArray<string>
) => [{ listServicesResponse: { service: names.map((name) => ({ name })) } }]

/** A file with a service, or with nothing but imports. */
const compiled = (name: string, imports: ReadonlyArray<string>, service?: string) => {
  const field = (number: number, text: string) =>
    Buffer.concat([Buffer.from([number << 3 | 2, text.length]), Buffer.from(text)])
  return Buffer.concat([
    field(1, name),
    ...imports.map((name) => field(3, name)),
    ...(service === undefined ? [] : [field(6, `\n${String.fromCharCode(service.length)}${service}`)])
  ])
}

describe("the schema of a server", () => {
  for (const version of ["v1", "v1alpha"] as const) {
    onLoopback(`comes by reflection ${version}, with all that it imports`, () =>
      Effect.gen(function*() {
        const schema = yield* orders
        const { asked, port } = yield* reflectionServer(honestly(schema), [version])
        const channel = yield* connect(port)
        assert.deepStrictEqual(
          channel.services.map(({ methods, name }) => [name, methods.map(({ kind, path }) => `${path} ${kind}`)]),
          [["acme.Orders", ["acme.Orders/Get unary"]], ["acme.Stock", ["acme.Stock/Watch serverStream"]]]
        )
        const method = yield* channel.describe("acme.Orders/Get")
        assert.deepStrictEqual(method.request.fields.map(({ name }) => name), ["total", "at", "parts"])
        assert.deepStrictEqual(
          asked.flatMap(({ fileByFilename }) => fileByFilename ?? []),
          ["acme/money.proto", "google/protobuf/timestamp.proto", "acme/unit.proto"]
        )
      }))
  }

  onLoopback("can be of some services only", () =>
    Effect.gen(function*() {
      const { asked, port } = yield* reflectionServer(honestly(yield* orders))
      const channel = yield* connect(port, { services: ["acme.Stock"] })
      assert.lengthOf(channel.services, 2)
      assert.strictEqual(asked[0]?.fileContainingSymbol, "acme.Stock")
      const reason = yield* reasonOf(connect(port, { services: ["acme.Stock", "acme.Nope"] }))
      assert.deepInclude(reason, { _tag: "BadReflection", why: `"acme.Nope": not found` })
    }))

  onLoopback("is what the server can describe of what it lists", () =>
    Effect.gen(function*() {
      const schema = yield* orders
      const honest = honestly(schema)
      const { port } = yield* reflectionServer((request, version) =>
        request.listServices === undefined ? honest(request, version) : list("acme.Orders", "acme.Legacy")
      )
      assert.lengthOf((yield* connect(port)).services, 2)
      const { port: silent } = yield* reflectionServer((request, version) =>
        request.listServices === undefined ? honest(request, version) : list("acme.Legacy")
      )
      assert.deepInclude(yield* reasonOf(connect(silent)), {
        _tag: "BadReflection",
        why: "the server describes none of its services"
      })
    }))

  onLoopback("needs no definitions of Google's from the server", () =>
    Effect.gen(function*() {
      const schema = yield* orders
      const honest = honestly(schema)
      const { port } = yield* reflectionServer((request, version) =>
        request.fileByFilename?.startsWith("google/") === true
          ? [{ errorResponse: { errorCode: 5, errorMessage: "not found" } }]
          : honest(request, version)
      )
      const channel = yield* connect(port)
      assert.lengthOf(channel.services, 2)
    }))

  onLoopback("is not there when the server has no reflection", () =>
    Effect.gen(function*() {
      const { port } = yield* reflectionServer(() => undefined, [])
      assert.deepInclude(yield* reasonOf(connect(port)), {
        _tag: "BadReflection",
        why: "the server has none, neither v1 nor v1alpha"
      })
    }))

  onLoopback("is not there when the server refuses, and the status is", () =>
    Effect.gen(function*() {
      const { asked, port } = yield* reflectionServer(() => 16)
      const error = yield* Effect.flip(connect(port))
      assert.deepInclude(yield* reasonOf(connect(port)), { _tag: "BadReflection", status: "Unauthenticated" })
      assert.include(error.message, "told so")
      assert.isFalse(error.isRetryable)
      assert.lengthOf(asked, 2)
    }))

  onLoopback("is waited for only so long", () =>
    Effect.gen(function*() {
      const { port } = yield* reflectionServer(() => undefined)
      const error = yield* Effect.flip(connect(port, { timeout: "100 millis" }))
      assert(error._tag === "GrpcSchemaError" && error.reason._tag === "BadReflection")
      assert.strictEqual(error.reason.status, "DeadlineExceeded")
      assert.isTrue(error.isRetryable)
    }))

  onLoopback("names a file that the server does not have, and who imports it", () =>
    Effect.gen(function*() {
      const honest = honestly(yield* orders)
      const { port } = yield* reflectionServer((request, version) =>
        honest(request.fileByFilename === "acme/unit.proto" ? { fileByFilename: "?" } : request, version)
      )
      assert.deepInclude(yield* reasonOf(connect(port)), {
        _tag: "MissingImport",
        file: "acme/money.proto",
        import: "acme/unit.proto"
      })
    }))

  onLoopback("is no use when the server answers something else than it was asked", () =>
    Effect.gen(function*() {
      const schema = yield* orders
      const other = yield* reflectionServer((request) =>
        request.fileByFilename === undefined
          ? honestly(schema)(request, "v1")
          : file(schema.files.at(-1)!.bytes)
      )
      assert.strictEqual((yield* reasonOf(connect(other.port)))["_tag"], "MissingImport")
      const strange = yield* reflectionServer(() => [{ allExtensionNumbersResponse: {} }])
      assert.deepInclude(yield* reasonOf(connect(strange.port)), {
        _tag: "BadReflection",
        why: "the server does not say which services it has"
      })
      const none = yield* reflectionServer((request) => request.listServices === undefined ? [{}] : list("a.A"))
      assert.strictEqual((yield* reasonOf(connect(none.port)))["_tag"], "BadReflection")
    }))

  onLoopback("is no use when files are garbage", () =>
    Effect.gen(function*() {
      for (const bytes of [[0xff, 0xff], [0x0a, 0x7f], [0x22, 1, 0xff], []]) {
        const { port } = yield* reflectionServer((request) =>
          request.listServices === undefined ? file(new Uint8Array(bytes)) : list("a.A")
        )
        assert.deepInclude(yield* reasonOf(connect(port)), {
          _tag: "BadReflection",
          why: "the server sent a file that is none"
        })
      }
    }))

  onLoopback("is no use when files import each other in a circle", () =>
    Effect.gen(function*() {
      const { asked, port } = yield* reflectionServer((request) =>
        request.listServices !== undefined
          ? list("A")
          : request.fileByFilename === "b.proto"
          ? file(compiled("b.proto", ["a.proto"]))
          : file(compiled("a.proto", ["b.proto"], "A"))
      )
      assert.deepInclude(yield* reasonOf(connect(port)), {
        _tag: "Syntax",
        detail: "it imports itself: a.proto -> b.proto -> a.proto"
      })
      assert.lengthOf(asked, 3)
    }))

  onLoopback("has limits: so many files, of such a size, and so much in all", () =>
    Effect.gen(function*() {
      let next = 0
      const { port } = yield* reflectionServer((request) =>
        request.listServices === undefined
          ? file(compiled(request.fileByFilename ?? "first.proto", [`${next++}.proto`]))
          : list("A")
      )
      const files = yield* reasonOf(connect(port, { maxFiles: 50 }))
      assert.deepInclude(files, { _tag: "TooLarge", limit: 50, of: "files" })
      const bytes = yield* reasonOf(connect(port, { maxFileSize: 10 }))
      assert.deepInclude(bytes, { _tag: "TooLarge", limit: 10, of: "bytes in a file" })
      const all = yield* reasonOf(connect(port, { maxTotalSize: 1000 }))
      assert.deepInclude(all, { _tag: "TooLarge", limit: 1000, of: "bytes in all" })
    }))

  onLoopback("does not hold a message that is too large in memory", () =>
    Effect.gen(function*() {
      const { port } = yield* reflectionServer((request) =>
        request.listServices === undefined ? file(Buffer.alloc(100_000)) : list("A")
      )
      const reason = yield* reasonOf(connect(port, { maxTotalSize: 50_000 }))
      assert.deepInclude(reason, { _tag: "BadReflection", status: "ResourceExhausted" })
    }))

  onLoopback("comes in few round trips", () =>
    Effect.gen(function*() {
      const imports = Array.from({ length: 100 }, (_, index) => `${index}.proto`)
      const { asked, port } = yield* reflectionServer((request) =>
        request.listServices !== undefined
          ? list("A")
          : request.fileByFilename === undefined
          ? file(compiled("a.proto", imports, "A"))
          : file(compiled(request.fileByFilename, []))
      )
      const channel = yield* connect(port)
      assert.deepStrictEqual(channel.services.map(({ name }) => name), ["A"])
      assert.lengthOf(asked, 102)
    }))

  onLoopback("is asked for no longer when the channel is given up", () =>
    Effect.gen(function*() {
      const asked = yield* Deferred.make<void>()
      const { port } = yield* reflectionServer(() => {
        Deferred.doneUnsafe(asked, Effect.void)
        return undefined
      })
      const connecting = yield* Effect.forkChild(connect(port))
      yield* Deferred.await(asked)
      yield* Fiber.interrupt(connecting)
    }))

  onLoopback("comes from this library's own server, comments and all", () =>
    Effect.gen(function*() {
      const server = yield* Layer.build(GrpcServer.layer({
        services: [
          GrpcServer.service(
            GrpcSchema.fromSource(`
              syntax = "proto3";
              package acme;
              import "google/protobuf/timestamp.proto";
              // Greets.
              service Greeter { rpc Greet(Hello) returns (Hello); }
              message Hello { string name = 1; google.protobuf.Timestamp at = 2; }`),
            "acme.Greeter",
            { Greet: GrpcServer.unary((request) => Effect.succeed({ name: `Hello ${String(request["name"])}` })) }
          )
        ],
        port: 0
      })).pipe(Effect.provide(Listener.layer))
      const { address } = Context.get(server, GrpcServer.GrpcServer)
      assert("port" in address)
      const channel = yield* connectTo(address.port, { schema: GrpcSchema.fromReflection() })
      const greeter = channel.services.find(({ name }) => name === "acme.Greeter")
      assert.strictEqual(greeter?.comment, "Greets.")
      assert.isTrue(Result.isSuccess(channel.schema.jsonSchema("acme.Hello")))
      assert.deepInclude(yield* channel.unary("acme.Greeter/Greet", { name: "Ada" }), { name: "Hello Ada" })
    }))
})

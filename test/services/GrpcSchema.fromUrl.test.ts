import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import * as Https from "node:https"
import type { DialError } from "../../src/errors/DialError.ts"
import type { GrpcSchemaError } from "../../src/errors/GrpcSchemaError.ts"
import type { TlsConfigError } from "../../src/errors/TlsConfigError.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Grpc from "../../src/services/Grpc.ts"
import * as GrpcSchema from "../../src/services/GrpcSchema.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import { leavesNothing } from "../support/leaks.ts"
import { closedPort, rawServer } from "../support/servers.ts"
import { listening } from "../support/tls.ts"

const orders = `
syntax = "proto3";
package acme;
import "acme/money.proto";
import "google/protobuf/timestamp.proto";
message Order { Money total = 1; google.protobuf.Timestamp at = 2; }
service Orders { rpc Get(Order) returns (Order); }
`
const money = `syntax = "proto3"; package acme; message Money { int64 units = 1; }`
const alone = `syntax = "proto3"; package acme; message Alone {} service S { rpc R(Alone) returns (Alone); }`

type Page = string | ((request: Http.IncomingMessage, response: Http.ServerResponse) => void)

/** A server of pages, and what it was asked. */
const pages = Effect.fnUntraced(function*(
  served: { readonly [path: string]: Page },
  tls?: TestCertificates.Credentials
) {
  const asked: Array<Http.IncomingMessage> = []
  const answer: Http.RequestListener = (request, response) => {
    asked.push(request)
    const page = served[request.url ?? ""]
    if (page === undefined) response.writeHead(404).end("nothing here")
    else if (typeof page === "string") response.end(page)
    else page(request, response)
  }
  const { port } = yield* listening(
    tls === undefined
      ? Http.createServer(answer)
      : Https.createServer({ ...tls }, answer)
  )
  return {
    port,
    asked,
    paths: () => asked.map(({ url }) => url),
    url: (path: string) => `http://127.0.0.1:${port}${path}`
  }
})

const redirect = (status: number, location: string): Page => (_, response) =>
  void response.writeHead(status, { location }).end()

const live = (
  title: string,
  body: () => Effect.Effect<unknown, unknown, Dialer.Dialer | Scope.Scope>
) => it.live(title, () => leavesNothing(Effect.provide(body(), Dialer.layer)))

type Failing = Effect.Effect<GrpcSchema.GrpcSchema, DialError | GrpcSchemaError | TlsConfigError, Dialer.Dialer>

const reasonOf = (effect: Failing) =>
  Effect.map(Effect.flip(effect), (error): Readonly<Record<string, unknown>> => {
    assert(error._tag === "GrpcSchemaError", error.message)
    return {
      ...Object.fromEntries(Object.entries(error.reason)),
      message: error.message,
      isRetryable: error.isRetryable
    }
  })

/** Every name leads to loopback, and the dials are counted. */
const everywhereIsHere = (ports: { readonly [target: string]: number }, dialled: Array<string>) =>
  Layer.effect(
    Dialer.Dialer,
    Effect.map(Dialer.Dialer, (below): Dialer.Dialer["Service"] => ({
      ...below,
      dial: (target, options) => {
        assert(typeof target === "string")
        dialled.push(target)
        return below.dial({ host: "127.0.0.1", port: ports[target] ?? 1 }, options)
      }
    }))
  ).pipe(Layer.provide(Dialer.layer))

describe("fromUrl", () => {
  live("fetches a definition and its imports from the folder it lies in", () =>
    Effect.gen(function*() {
      const { paths, url } = yield* pages({ "/v1/orders.proto": orders, "/v1/acme/money.proto": money })
      const schema = yield* GrpcSchema.fromUrl(url("/v1/orders.proto"))
      assert.deepStrictEqual(schema.services.map(({ name }) => name), ["acme.Orders"])
      assert.sameMembers(schema.files.map(({ name }) => name), [
        "acme/money.proto",
        "google/protobuf/timestamp.proto",
        "orders.proto"
      ])
      assert.deepStrictEqual(paths(), ["/v1/orders.proto", "/v1/acme/money.proto"])
    }))

  live("looks for imports in includeUrls, too, which also say what a file is called", () =>
    Effect.gen(function*() {
      const { paths, url } = yield* pages({ "/x/acme/orders.proto": orders, "/y/acme/money.proto": money })
      const schema = yield* GrpcSchema.fromUrl(new URL(url("/x/acme/orders.proto")), {
        includeUrls: [url("/x"), url("/y/")]
      })
      assert.include(schema.files.map(({ name }) => name), "acme/orders.proto")
      assert.deepStrictEqual(paths(), [
        "/x/acme/orders.proto",
        "/x/acme/money.proto",
        "/x/acme/acme/money.proto",
        "/y/acme/money.proto"
      ])
    }))

  it.live("dials through the Dialer, by the names of the URLs", () =>
    leavesNothing(Effect.gen(function*() {
      const { asked, port } = yield* pages({ "/orders.proto": orders, "/acme/money.proto": money })
      const dialled: Array<string> = []
      const network = everywhereIsHere({ "definitions.example:80": port, "[::2]:8080": port }, dialled)
      yield* GrpcSchema.fromUrl("http://definitions.example/orders.proto").pipe(Effect.provide(network))
      assert.deepStrictEqual(dialled, ["definitions.example:80", "definitions.example:80"])
      assert.strictEqual(asked[0]?.headers.host, "definitions.example")
      yield* GrpcSchema.fromUrl("http://[::2]:8080/orders.proto").pipe(Effect.provide(network))
      assert.strictEqual(asked.at(-1)?.headers.host, "[::2]:8080")
    })))

  live("verifies certificates with the TLS options of all", () =>
    Effect.gen(function*() {
      const authority = yield* TestCertificates.authority()
      const tls = yield* authority.issue({ names: ["127.0.0.1"] })
      const { asked, port } = yield* pages({ "/a.proto": alone }, tls)
      const url = `https://127.0.0.1:${port}/a.proto`
      const schema = yield* GrpcSchema.fromUrl(url, { tls: { ca: authority.certificate } })
      assert.lengthOf(schema.services, 1)
      const error = yield* Effect.flip(GrpcSchema.fromUrl(url))
      assert(error._tag === "DialError" && error.reason._tag === "TlsHandshake")
      assert.lengthOf(asked, 1)
    }))

  live(
    "follows redirects, relative ones and to other servers, and shows its headers to the first server only",
    () =>
      Effect.gen(function*() {
        const other = yield* pages({ "/b.proto": alone })
        const first = yield* pages({
          "/a.proto": redirect(302, "deeper/a.proto"),
          "/deeper/a.proto": redirect(307, other.url("/b.proto"))
        })
        const headers = { Authorization: Redacted.make("Bearer secret") }
        yield* GrpcSchema.fromUrl(first.url("/a.proto"), { headers })
        assert.deepStrictEqual(first.paths(), ["/a.proto", "/deeper/a.proto"])
        assert.deepStrictEqual(first.asked.map(({ headers }) => headers.authorization), [
          "Bearer secret",
          "Bearer secret"
        ])
        assert.deepStrictEqual(other.asked.map(({ headers }) => headers.authorization), [undefined])
      })
  )

  live("says who asks when the URL does, and tells nobody else", () =>
    Effect.gen(function*() {
      const { asked, port } = yield* pages({ "/a.proto?key=hidden": "nonsense" })
      const reason = yield* reasonOf(GrpcSchema.fromUrl(`http://ada:p%40ss@127.0.0.1:${port}/a.proto?key=hidden`))
      assert.strictEqual(asked[0]?.headers.authorization, `Basic ${Buffer.from("ada:p@ss").toString("base64")}`)
      assert.deepInclude(reason, { _tag: "Syntax", file: `http://127.0.0.1:${port}/a.proto`, line: 1 })
      assert.notInclude(JSON.stringify(reason), "p%40ss")
      assert.notInclude(JSON.stringify(reason), "hidden")
    }))

  live("refuses redirects to another scheme, in circles and without end", () =>
    Effect.gen(function*() {
      const { url } = yield* pages({
        "/ftp": redirect(301, "ftp://127.0.0.1/a.proto"),
        "/file": redirect(302, "file:///etc/passwd"),
        "/broken": redirect(302, "http://["),
        "/a": redirect(302, "/b"),
        "/b": redirect(303, "/a"),
        ...Object.fromEntries(Array.from({ length: 9 }, (_, n) => [`/${n}`, redirect(308, `/${n + 1}`)])),
        "/9": alone
      })
      for (const path of ["/ftp", "/file", "/broken"]) {
        const reason = yield* reasonOf(GrpcSchema.fromUrl(url(path)))
        assert.strictEqual(reason["_tag"], "Unfetchable")
        assert.include(String(reason["why"]), "it redirects to another scheme")
      }
      assert.deepInclude(yield* reasonOf(GrpcSchema.fromUrl(url("/a"))), { why: "it redirects to itself" })
      assert.deepInclude(yield* reasonOf(GrpcSchema.fromUrl(url("/0"))), { why: "it redirects more than 5 times" })
      yield* GrpcSchema.fromUrl(url("/0"), { maxRedirects: 9 })
      assert.strictEqual((yield* reasonOf(GrpcSchema.fromUrl(url("/0"), { maxRedirects: 8 })))["_tag"], "Unfetchable")
    }))

  live("never goes from https to http", () =>
    Effect.gen(function*() {
      const authority = yield* TestCertificates.authority()
      const tls = yield* authority.issue({ names: ["127.0.0.1"] })
      const plain = yield* pages({ "/a.proto": alone })
      const { port } = yield* pages({ "/a.proto": redirect(302, plain.url("/a.proto")) }, tls)
      const reason = yield* reasonOf(
        GrpcSchema.fromUrl(`https://127.0.0.1:${port}/a.proto`, { tls: { ca: authority.certificate } })
      )
      assert.deepInclude(reason, { _tag: "Unfetchable", why: "it redirects to another scheme (http:)" })
      assert.deepStrictEqual(plain.paths(), [])
    }))

  live("says what the server said", () =>
    Effect.gen(function*() {
      const { url } = yield* pages({
        "/500": (_, response) => void response.writeHead(500).end("x".repeat(100_000)),
        "/zipped": (_, response) => void response.writeHead(200, { "content-encoding": "gzip" }).end("x")
      })
      assert.deepInclude(yield* reasonOf(GrpcSchema.fromUrl(url("/500"))), {
        _tag: "Unfetchable",
        url: url("/500"),
        status: 500,
        message: `cannot fetch ${url("/500")}: the server says 500 Internal Server Error`,
        isRetryable: true
      })
      assert.deepInclude(yield* reasonOf(GrpcSchema.fromUrl(url("/none"))), { status: 404, isRetryable: false })
      assert.strictEqual((yield* reasonOf(GrpcSchema.fromUrl(url("/zipped"))))["_tag"], "Unfetchable")
    }))

  live("names an import that is nowhere, and who imports it", () =>
    Effect.gen(function*() {
      const { url } = yield* pages({ "/orders.proto": orders })
      const reason = yield* reasonOf(GrpcSchema.fromUrl(url("/orders.proto")))
      assert.deepInclude(reason, { _tag: "MissingImport", file: url("/orders.proto"), import: "acme/money.proto" })
    }))

  live("does not let an import lead out of the folders", () =>
    Effect.gen(function*() {
      const names = [
        "../secret.proto",
        "/secret.proto",
        "a/../../secret.proto",
        "http://127.0.0.1/x.proto",
        "..\\\\x.proto",
        ""
      ]
      const { paths, url } = yield* pages(
        Object.fromEntries([
          ...names.map((name, index) => [`/in/${index}.proto`, `syntax = "proto3"; import "${name}";`] as const),
          ["/secret.proto", alone]
        ])
      )
      for (const index of names.keys()) {
        const reason = yield* reasonOf(GrpcSchema.fromUrl(url(`/in/${index}.proto`)))
        assert.strictEqual(reason["_tag"], "MissingImport", names[index])
      }
      assert.notInclude(paths(), "/secret.proto")
    }))

  live("takes so many files, of such a size, and so much in all", () =>
    Effect.gen(function*() {
      const endless = (_: unknown, response: Http.ServerResponse) => {
        response.on("error", () => {})
        const more = () => {
          while (response.writable && response.write("// more\n".repeat(1000)));
        }
        response.on("drain", more)
        more()
      }
      const { paths, url } = yield* pages({
        ...Object.fromEntries(
          Array.from({ length: 30 }, (_, n) => [`/${n}.proto`, `syntax = "proto3"; import "${n + 1}.proto";`] as const)
        ),
        "/30.proto": `syntax = "proto3";`,
        "/endless.proto": endless,
        "/announced.proto": (_, response) => void response.writeHead(200, { "content-length": "5000000" }).write("x")
      })
      const files = yield* reasonOf(GrpcSchema.fromUrl(url("/0.proto"), { maxFiles: 10 }))
      assert.deepInclude(files, { _tag: "TooLarge", file: url("/10.proto"), limit: 10, of: "files" })
      assert.lengthOf(paths(), 10)
      const all = yield* reasonOf(GrpcSchema.fromUrl(url("/0.proto"), { maxTotalSize: 200 }))
      assert.deepInclude(all, { _tag: "TooLarge", limit: 200, of: "bytes in all" })
      for (const path of ["/endless.proto", "/announced.proto"]) {
        const size = yield* reasonOf(GrpcSchema.fromUrl(url(path)))
        assert.deepInclude(size, { _tag: "TooLarge", file: url(path), limit: 1024 * 1024, of: "bytes in a file" })
      }
      yield* GrpcSchema.fromUrl(url("/0.proto"))
    }))

  live("waits only so long, over all files", () =>
    Effect.gen(function*() {
      const { url } = yield* pages({
        "/silent.proto": () => {},
        "/slow.proto": (_, response) => void response.writeHead(200).write("syntax"),
        "/import.proto": `syntax = "proto3"; import "silent.proto";`
      })
      for (const path of ["/silent.proto", "/slow.proto"]) {
        const reason = yield* reasonOf(GrpcSchema.fromUrl(url(path), { timeout: "50 millis" }))
        assert.deepInclude(reason, { _tag: "Unfetchable", url: url(path), why: "no answer within 50ms" })
      }
      const reason = yield* reasonOf(GrpcSchema.fromUrl(url("/import.proto"), { timeout: "200 millis" }))
      assert.deepInclude(reason, { _tag: "Unfetchable", url: url("/silent.proto") })
    }))

  live("says when the connection ends too early or no HTTP is spoken", () =>
    Effect.gen(function*() {
      for (const sent of ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsyntax", "220 smtp.example ESMTP\r\n"]) {
        const server = yield* rawServer()
        const fetching = yield* Effect.forkChild(reasonOf(GrpcSchema.fromUrl(`http://${server.address}/a.proto`)))
        const socket = yield* server.next
        socket.resume().end(sent)
        assert.strictEqual((yield* Fiber.join(fetching))["_tag"], "Unfetchable", sent)
      }
    }))

  live("reads an answer that comes byte by byte", () =>
    Effect.gen(function*() {
      const server = yield* rawServer()
      const fetching = yield* Effect.forkChild(GrpcSchema.fromUrl(`http://${server.address}/a.proto`))
      const socket = yield* server.next
      socket.setNoDelay(true).resume()
      const chunks = [alone.slice(0, 20), alone.slice(20)].map((text) => `${text.length.toString(16)}\r\n${text}\r\n`)
      const answer = `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${chunks.join("")}0\r\n\r\n`
      for (const byte of Buffer.from(answer)) {
        yield* Effect.callback<void>((resume) => void socket.write(Buffer.from([byte]), () => resume(Effect.void)))
      }
      assert.lengthOf((yield* Fiber.join(fetching)).services, 1)
    }))

  live("fails with a DialError when nobody is there", () =>
    Effect.gen(function*() {
      const port = yield* closedPort
      const error = yield* Effect.flip(GrpcSchema.fromUrl(`http://127.0.0.1:${port}/a.proto`))
      assert.strictEqual(error._tag, "DialError")
    }))

  live(
    "refuses what is no URL of HTTP, and headers that are none, without showing what they hold",
    () =>
      Effect.gen(function*() {
        for (
          const url of ["a.proto", "ftp://127.0.0.1/a.proto", "file:///a.proto", "http://", "//u:hidden@x/a?hidden"]
        ) {
          const reason = yield* reasonOf(GrpcSchema.fromUrl(url))
          assert.strictEqual(reason["_tag"], "Unfetchable", url)
          assert.notInclude(JSON.stringify(reason), "hidden")
        }
        for (const headers of [{ "x y": "hidden" }, { x: "hidden\r\nhidden" }]) {
          const reason = yield* reasonOf(GrpcSchema.fromUrl("http://127.0.0.1:1/a.proto", { headers }))
          assert.strictEqual(reason["_tag"], "Unfetchable")
          assert.notInclude(JSON.stringify(reason), "hidden")
        }
      })
  )

  live("closes its connection when it is interrupted", () =>
    Effect.gen(function*() {
      const asked = yield* Deferred.make<Http.IncomingMessage>()
      const { url } = yield* pages({ "/a.proto": (request) => Deferred.doneUnsafe(asked, Effect.succeed(request)) })
      const fetching = yield* Effect.forkChild(GrpcSchema.fromUrl(url("/a.proto")))
      const { socket } = yield* Deferred.await(asked)
      yield* Fiber.interrupt(fetching)
      yield* Effect.callback<void>((resume) => {
        if (socket.destroyed) resume(Effect.void)
        else socket.once("close", () => resume(Effect.void))
      })
    }))
})

describe("Grpc.connect", () => {
  live("fetches its schema over the same Dialer", () =>
    Effect.gen(function*() {
      const { port } = yield* pages({ "/a.proto": alone })
      const dialled: Array<string> = []
      const grpc = Grpc.layer.pipe(Layer.provide(everywhereIsHere({ "definitions.example:80": port }, dialled)))
      const channel = yield* Grpc.Grpc.use((grpc) =>
        grpc.connect({
          url: "http://server.example:50051",
          lazy: true,
          schema: GrpcSchema.fromUrl("http://definitions.example/a.proto")
        })
      ).pipe(Effect.provide(grpc))
      assert.deepStrictEqual(channel.services.map(({ name }) => name), ["acme.S"])
      assert.deepStrictEqual(dialled, ["definitions.example:80"])
    }))
})

describe("fromSources", () => {
  live("takes URLs beside texts, imports from each other, and what their servers have", () =>
    Effect.gen(function*() {
      const { paths, url } = yield* pages({
        "/base/acme/orders.proto": orders,
        "/base/acme/money.proto":
          `syntax = "proto3"; import "unit.proto"; package acme; message Money { acme.Unit u = 1; }`,
        "/base/unit.proto": `syntax = "proto3"; package acme; message Unit {}`
      })
      const schema = yield* GrpcSchema.fromSources({
        "all.proto":
          `syntax = "proto3"; import "acme/orders.proto"; service All { rpc R(acme.Order) returns (acme.Order); }`,
        "acme/orders.proto": new URL(url("/base/acme/orders.proto")),
        "acme/money.proto": { url: url("/base/acme/money.proto") }
      })
      assert.sameMembers(schema.services.map(({ name }) => name), ["All", "acme.Orders"])
      assert.sameMembers(paths(), ["/base/acme/orders.proto", "/base/acme/money.proto", "/base/unit.proto"])
    }))

  live("shows its headers to the server of the first URL only", () =>
    Effect.gen(function*() {
      const first = yield* pages({ "/a.proto": `syntax = "proto3";` })
      const second = yield* pages({ "/b.proto": `syntax = "proto3";` })
      yield* GrpcSchema.fromSources(
        { "a.proto": { url: first.url("/a.proto") }, "b.proto": { url: second.url("/b.proto") } },
        { headers: { authorization: Redacted.make("Bearer secret") } }
      )
      assert.strictEqual(first.asked[0]?.headers.authorization, "Bearer secret")
      assert.isUndefined(second.asked[0]?.headers.authorization)
    }))
})

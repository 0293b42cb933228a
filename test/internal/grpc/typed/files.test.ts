import { assert, describe, it } from "@effect/vitest"
import { loadSync } from "@grpc/proto-loader"
import * as Effect from "effect/Effect"
import { cast } from "effect/Function"
import * as Result from "effect/Result"
import { fileURLToPath } from "node:url"
import { fromDescriptors } from "../../../../src/internal/grpc/proto/compile.ts"
import { make } from "../../../../src/internal/grpc/proto/schema.ts"
import { filesOf, type TypedService } from "../../../../src/internal/grpc/typed/definitions.ts"
import type { GrpcJsService } from "../../../../src/internal/grpc/typed/grpcJs.ts"
import { ShopService } from "../../../support/grpc/generated/shop.ts"
import * as Es from "../../../support/grpc/generated/shop_pb.js"
import { loadShop, Shop } from "../../../support/grpc/shop.ts"

const shopProto = fileURLToPath(new URL("../../../support/grpc/shop.proto", import.meta.url))

const loaded = loadSync(shopProto, { keepCase: true })["acme.shop.v1.Shop"]

const described: ReadonlyArray<readonly [string, TypedService]> = [
  ["proto-loader", cast<unknown, GrpcJsService>(loaded)],
  ["protobuf-es", Es.Shop],
  ["Effect schemas", Shop]
]

describe("filesOf", () => {
  for (const [title, service] of described) {
    it.effect(`finds the definition of a service of ${title}`, () =>
      Effect.gen(function*() {
        const files = yield* filesOf(service, yield* loadShop)
        const schema = Result.map(fromDescriptors(files.map(({ bytes }) => bytes)), make)
        const method = Result.getOrThrow(Result.flatMap(schema, ({ method }) => method("acme.shop.v1.Shop/GetItem")))
        const reference = Result.getOrThrow((yield* loadShop).method("acme.shop.v1.Shop/GetItem"))
        const fields = ({ response }: typeof method) =>
          response.fields.map(({ name, number, type }) => [name, number, type])
        assert.isNotEmpty(fields(method))
        assert.deepStrictEqual(fields(method), fields(reference))
        for (const { dependencies } of files) {
          for (const name of dependencies) assert.isTrue(files.some((file) => file.name === name), name)
        }
      }))
  }

  it.effect("finds nothing where code was generated without definitions", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* filesOf(ShopService), [])
    }))
})

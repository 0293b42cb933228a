import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as GrpcSchema from "../../src/services/GrpcSchema.ts"
import { setOf } from "../support/grpc/descriptors.ts"
import { reasonOf } from "../support/reason.ts"

const shop = `
syntax = "proto3";
package acme;

import "google/protobuf/timestamp.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/any.proto";
import "google/protobuf/wrappers.proto";

// What somebody
// wants.
message Order {
  option deprecated = true;
  // Its number.
  int64 order_id = 1;
  repeated Item items = 2; // What is in it.
  map<string, Item> by_name = 3;
  map<int64, bool> flags = 4;
  /* How it is paid. */
  oneof payment {
    // By card.
    string card_number = 5 [deprecated = true];
    Cash cash = 6;
  }
  optional int32 maybe = 7;
  bytes raw = 8;
  Order parent = 9;
  double weight = 10;
  State state = 11;
  google.protobuf.Timestamp at = 12;
  google.protobuf.Value extra = 13;
  google.protobuf.Any any = 14;
  google.protobuf.Int64Value count = 15;
  message Cash { uint32 cents = 1; }
  // How far it is.
  enum State {
    UNKNOWN = 0;
    // On its way.
    SENT = 1 [deprecated = true];
  }
}
message Item { string name = 1; }

// Takes orders.
service Orders {
  // Gets one.
  rpc Get(Item) returns (Order);
  rpc Watch(Item) returns (stream Order) { option deprecated = true; }
  rpc Add(stream Item) returns (Order);
  rpc Chat(stream Item) returns (stream Order);
}
// Is no more.
service Old { option deprecated = true; }
`

const schema = GrpcSchema.fromSource(shop)

const legacy = `
syntax = "proto2";
message Legacy {
  required string name = 1;
  optional int32 size = 2 [default = 7];
  optional int64 big = 3 [default = 9007199254740993];
  optional Mode mode = 4 [default = ON];
  optional bool on = 5 [default = true];
  optional double ratio = 6 [default = inf];
  optional string text = 7 [default = "hello"];
  extensions 100 to 199;
}
extend Legacy { optional string note = 100; }
enum Mode { OFF = 0; ON = 1; }
service S { rpc R(Legacy) returns (Legacy); }
`

/** From the text, and from the descriptors that it was compiled to. */
const bothWays = (body: (schema: GrpcSchema.GrpcSchema) => void) =>
  Effect.gen(function*() {
    const source = yield* schema
    body(source)
    body(yield* GrpcSchema.fromDescriptorSet(setOf(source)))
  })

describe("a schema describes", () => {
  it.effect("services and methods: kinds, messages, comments, what is deprecated", () =>
    bothWays((schema) => {
      assert.deepStrictEqual(
        schema.services.map(({ comment, deprecated, name }) => ({ name, comment, deprecated })),
        [
          { name: "acme.Orders", comment: "Takes orders.", deprecated: false },
          { name: "acme.Old", comment: "Is no more.", deprecated: true }
        ]
      )
      assert.deepStrictEqual(
        schema.services[0]?.methods.map(({ comment, deprecated, kind, path, request, response }) => ({
          path,
          kind,
          request: request.name,
          response: response.name,
          deprecated,
          comment
        })),
        [
          {
            path: "acme.Orders/Get",
            kind: "unary",
            request: "acme.Item",
            response: "acme.Order",
            deprecated: false,
            comment: "Gets one."
          },
          {
            path: "acme.Orders/Watch",
            kind: "serverStream",
            request: "acme.Item",
            response: "acme.Order",
            deprecated: true,
            comment: undefined
          },
          {
            path: "acme.Orders/Add",
            kind: "clientStream",
            request: "acme.Item",
            response: "acme.Order",
            deprecated: false,
            comment: undefined
          },
          {
            path: "acme.Orders/Chat",
            kind: "bidi",
            request: "acme.Item",
            response: "acme.Order",
            deprecated: false,
            comment: undefined
          }
        ]
      )
    }))

  it.effect("messages and their fields", () =>
    bothWays((schema) => {
      const order = Result.getOrThrow(schema.message("acme.Order"))
      assert.strictEqual(order.comment, "What somebody\nwants.")
      assert.isTrue(order.deprecated)
      const fields = Object.fromEntries(order.fields.map((field) => [field.name, field]))
      assert.deepStrictEqual(Object.keys(fields).length, 15)
      assert.deepStrictEqual(fields["order_id"], {
        name: "order_id",
        jsonName: "orderId",
        number: 1,
        type: "int64",
        kind: "scalar",
        values: undefined,
        repeated: false,
        mapKey: undefined,
        oneof: undefined,
        presence: false,
        required: false,
        default: undefined,
        deprecated: false,
        comment: "Its number."
      })
      assert.deepInclude(fields["items"], {
        type: "acme.Item",
        kind: "message",
        repeated: true,
        presence: false,
        comment: "What is in it."
      })
      assert.deepInclude(fields["by_name"], { type: "acme.Item", kind: "message", mapKey: "string", repeated: false })
      assert.deepInclude(fields["flags"], { type: "bool", kind: "scalar", mapKey: "int64" })
      assert.deepInclude(fields["card_number"], {
        oneof: "payment",
        presence: true,
        deprecated: true,
        comment: "By card."
      })
      assert.deepInclude(fields["cash"], { type: "acme.Order.Cash", oneof: "payment", presence: true })
      assert.deepInclude(fields["maybe"], { oneof: undefined, presence: true })
      assert.deepInclude(fields["parent"], { type: "acme.Order", presence: true })
      assert.deepInclude(fields["state"], { type: "acme.Order.State", kind: "enum", values: ["UNKNOWN", "SENT"] })
      assert.deepStrictEqual(order.oneofs, [
        { name: "payment", fields: ["card_number", "cash"], comment: "How it is paid." }
      ])
    }))

  it.effect("enums and their values", () =>
    bothWays((schema) => {
      assert.deepStrictEqual(Result.getOrThrow(schema.enum("acme.Order.State")), {
        name: "acme.Order.State",
        values: [
          { name: "UNKNOWN", number: 0, deprecated: false, comment: undefined },
          { name: "SENT", number: 1, deprecated: true, comment: "On its way." }
        ],
        closed: false,
        deprecated: false,
        comment: "How far it is."
      })
    }))

  it.effect("every type that a field leads to", () =>
    bothWays((schema) => {
      const left = ["acme.Order"]
      const seen = new Set(left)
      for (const name of left) {
        for (const { kind, type } of Result.getOrThrow(schema.message(name)).fields) {
          if (kind === "enum") Result.getOrThrow(schema.enum(type))
          if (kind !== "message" || seen.has(type)) continue
          seen.add(type)
          left.push(type)
        }
      }
      assert.includeMembers(left, [
        "acme.Item",
        "acme.Order.Cash",
        "google.protobuf.Timestamp",
        "google.protobuf.Struct"
      ])
    }))

  it.effect("what proto2 has beside that: required fields, defaults, extensions, closed enums", () =>
    Effect.gen(function*() {
      const source = yield* GrpcSchema.fromSource(legacy)
      for (const schema of [source, yield* GrpcSchema.fromDescriptorSet(setOf(source))]) {
        const { fields } = Result.getOrThrow(schema.message("Legacy"))
        assert.deepStrictEqual(fields.map((field) => [field.name, field.required, field.default]), [
          ["name", true, undefined],
          ["size", false, 7],
          ["big", false, 9007199254740993n],
          ["mode", false, "ON"],
          ["on", false, true],
          ["ratio", false, Infinity],
          ["text", false, "hello"],
          ["[note]", false, undefined]
        ])
        assert.isTrue(fields.slice(1).every(({ presence }) => presence))
        assert.isTrue(Result.getOrThrow(schema.enum("Mode")).closed)
      }
    }))

  it.effect("nothing that it does not have", () =>
    Effect.gen(function*() {
      const { enum: enumOf, jsonSchema, message } = yield* schema
      for (const name of ["acme.Nope", "Order", "acme", "", "acme.Order.order_id", "acme.Order.State", "__proto__"]) {
        const reason = yield* reasonOf(Effect.fromResult(message(name)))
        assert.deepInclude(reason, { _tag: "UnknownType", kind: "message", name })
        assert.isTrue(Result.isFailure(jsonSchema(name)))
      }
      const reason = yield* reasonOf(Effect.fromResult(enumOf("acme.Order")))
      assert.deepInclude(reason, { _tag: "UnknownType", kind: "enum", name: "acme.Order" })
      assert.isTrue(Result.isSuccess(message(".acme.Order")))
    }))
})

describe("the messages of a schema", () => {
  it.effect("can be read and written without a method", () =>
    bothWays((schema) => {
      const order = Result.getOrThrow(schema.message("acme.Order"))
      const values = { orderId: 7n, items: [{ name: "a" }], state: "SENT" }
      const back = Result.getOrThrow(Result.flatMap(order.encode(values), order.decode))
      assert.deepInclude(back, { orderId: 7n, state: "SENT" })
    }))
})

describe("the JSON Schema of a message", () => {
  it.effect("says how its plain objects look, each type once", () =>
    bothWays((schema) => {
      const json = Result.getOrThrow(schema.jsonSchema("acme.Order"))
      const integer = { type: "integer", minimum: -(2 ** 31), maximum: 2 ** 31 - 1 }
      const long = { type: ["integer", "string"], pattern: "^-?[0-9]{1,20}$", format: "int64" }
      const time = { type: "object", properties: { seconds: long, nanos: integer }, additionalProperties: false }
      assert.deepStrictEqual(json, {
        $schema: "https://json-schema.org/draft/2020-12/schema",
        $ref: "#/$defs/acme.Order",
        $defs: {
          "acme.Order": {
            type: "object",
            description: "What somebody\nwants.",
            deprecated: true,
            properties: {
              orderId: { ...long, description: "Its number." },
              items: { type: "array", items: { $ref: "#/$defs/acme.Item" }, description: "What is in it." },
              byName: { type: "object", additionalProperties: { $ref: "#/$defs/acme.Item" } },
              flags: {
                type: "object",
                additionalProperties: { type: "boolean" },
                propertyNames: { pattern: "^-?[0-9]{1,20}$" }
              },
              cardNumber: { type: "string", description: "By card.", deprecated: true },
              cash: { $ref: "#/$defs/acme.Order.Cash" },
              maybe: integer,
              raw: { type: "string", contentEncoding: "base64" },
              parent: { $ref: "#/$defs/acme.Order" },
              weight: { type: "number", format: "double" },
              state: { $ref: "#/$defs/acme.Order.State" },
              at: { $ref: "#/$defs/google.protobuf.Timestamp" },
              extra: { $ref: "#/$defs/google.protobuf.Value" },
              any: { $ref: "#/$defs/google.protobuf.Any" },
              count: { $ref: "#/$defs/google.protobuf.Int64Value" }
            },
            additionalProperties: false,
            allOf: [{
              oneOf: [
                { required: ["cardNumber"] },
                { required: ["cash"] },
                { not: { anyOf: [{ required: ["cardNumber"] }, { required: ["cash"] }] } }
              ]
            }]
          },
          "acme.Item": { type: "object", properties: { name: { type: "string" } }, additionalProperties: false },
          "acme.Order.Cash": {
            type: "object",
            properties: { cents: { type: "integer", minimum: 0, maximum: 2 ** 32 - 1 } },
            additionalProperties: false
          },
          "acme.Order.State": { anyOf: [{ enum: ["UNKNOWN", "SENT"] }, integer], description: "How far it is." },
          "google.protobuf.Timestamp": { anyOf: [time, { type: "string", format: "date-time" }] },
          "google.protobuf.Value": {},
          "google.protobuf.Any": { type: "object", properties: { "@type": { type: "string" } } },
          "google.protobuf.Int64Value": long
        }
      })
      assert.deepStrictEqual(JSON.parse(JSON.stringify(json)), json)
    }))

  it.effect("says what is required, what the defaults are, and which enums are closed", () =>
    Effect.gen(function*() {
      const schema = yield* GrpcSchema.fromSource(legacy)
      const json = JSON.parse(JSON.stringify(Result.getOrThrow(schema.jsonSchema("Legacy"))))
      const { properties, required } = json.$defs.Legacy
      assert.deepStrictEqual(required, ["name"])
      assert.strictEqual(properties.size.default, 7)
      assert.strictEqual(properties.big.default, "9007199254740993")
      assert.deepStrictEqual(properties.mode, { $ref: "#/$defs/Mode", default: "ON" })
      assert.notProperty(properties.ratio, "default")
      assert.deepStrictEqual(json.$defs.Mode, { enum: ["OFF", "ON"] })
    }))
})

/** What etcd is asked to do, over whatever network and with whatever security the channel has. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Crypto from "node:crypto"
import type { GrpcChannel } from "../../../src/services/GrpcChannel.ts"
import { bytes, text } from "./etcd.ts"

const Range = Schema.Struct({
  kvs: Schema.Array(Schema.Struct({ key: Schema.Uint8Array, value: Schema.Uint8Array, lease: Schema.BigInt })),
  count: Schema.BigInt,
  more: Schema.Boolean
})

const Part = Schema.Struct({ blob: Schema.Uint8Array, remainingBytes: Schema.BigInt })

const Watched = Schema.Struct({
  watchId: Schema.BigInt,
  created: Schema.Boolean,
  canceled: Schema.Boolean,
  events: Schema.Array(Schema.Struct({
    type: Schema.String,
    kv: Schema.Struct({ key: Schema.Uint8Array, value: Schema.Uint8Array }),
    prevKv: Schema.optionalKey(Schema.Struct({ value: Schema.Uint8Array }))
  }))
})

const Alive = Schema.Struct({ ID: Schema.BigInt, TTL: Schema.BigInt })

/** The keys that begin with a prefix that ends in a slash. */
export const under = (prefix: string) => ({ key: bytes(prefix), rangeEnd: bytes(`${prefix.slice(0, -1)}0`) })

export const put = (channel: GrpcChannel, key: string, value: string, options: object = {}) =>
  channel.unary("etcdserverpb.KV/Put", { key: bytes(key), value: bytes(value), ...options })

export const remove = (channel: GrpcChannel, key: string) =>
  channel.unary("etcdserverpb.KV/DeleteRange", { key: bytes(key) })

export const range = (channel: GrpcChannel, request: object) =>
  Effect.flatMap(channel.unary("etcdserverpb.KV/Range", request), Schema.decodeUnknownEffect(Range))

/** Puts a value, and finds it. */
export const keeps = Effect.fnUntraced(function*(channel: GrpcChannel, key: string, value: string) {
  yield* put(channel, key, value)
  const { count, kvs } = yield* range(channel, { key: bytes(key) })
  assert.strictEqual(count, 1n)
  assert.deepStrictEqual(kvs[0]!.key, bytes(key))
  assert.isTrue(Buffer.compare(kvs[0]!.value, bytes(value)) === 0)
})

/** A watch that has begun: what comes next, and the handle. */
export const watch = Effect.fnUntraced(function*(channel: GrpcChannel, prefix: string) {
  const call = yield* channel.open("etcdserverpb.Watch/Watch")
  const next = Effect.flatMap(
    call.receive,
    Option.match({
      onNone: () => Effect.succeedNone,
      onSome: (values) => Effect.asSome(Schema.decodeUnknownEffect(Watched)(values))
    })
  )
  yield* call.send({ createRequest: { ...under(prefix), prevKv: true } })
  const created = Option.getOrThrow(yield* next)
  assert.deepInclude(created, { created: true, canceled: false })
  return { call, next, watchId: created.watchId }
})

/** Watches what is put and deleted, until it has had enough. */
export const watches = Effect.fnUntraced(function*(channel: GrpcChannel, prefix: string) {
  const { call, next, watchId } = yield* watch(channel, prefix)
  for (const name of ["a", "b", "c"]) yield* put(channel, prefix + name, `value of ${name}`)
  for (const name of ["a", "b", "c"]) yield* remove(channel, prefix + name)
  const events: Array<(typeof Watched.Type)["events"][number]> = []
  while (events.length < 6) events.push(...Option.getOrThrow(yield* next).events)
  assert.deepStrictEqual(
    events.map(({ kv, prevKv, type }) => [type, text(kv.key), text(kv.value), prevKv && text(prevKv.value)]),
    [
      ...["a", "b", "c"].map((name) => ["PUT", prefix + name, `value of ${name}`, undefined]),
      ...["a", "b", "c"].map((name) => ["DELETE", prefix + name, "", `value of ${name}`])
    ]
  )
  yield* call.send({ cancelRequest: { watchId } })
  assert.deepInclude(Option.getOrThrow(yield* next), { watchId, canceled: true })
  // it goes on for ever, with nothing to watch: the end of the scope cancels it
}, Effect.scoped)

/** Grants a lease, keeps it alive, and revokes it with what hangs on it. */
export const leases = Effect.fnUntraced(function*(channel: GrpcChannel, key: string) {
  const granted = yield* Effect.flatMap(
    channel.unary("etcdserverpb.Lease/LeaseGrant", { TTL: 600 }),
    Schema.decodeUnknownEffect(Alive)
  )
  assert.strictEqual(granted.TTL, 600n)
  yield* put(channel, key, "leased", { lease: granted.ID })
  assert.strictEqual((yield* range(channel, { key: bytes(key) })).kvs[0]?.lease, granted.ID)
  const alive = (times: number) =>
    channel.bidi(
      "etcdserverpb.Lease/LeaseKeepAlive",
      Stream.repeat(Stream.make({ ID: granted.ID }), Schedule.recurs(times - 1))
    ).pipe(
      Stream.mapEffect((values) => Schema.decodeUnknownEffect(Alive)(values)),
      Stream.runCollect
    )
  assert.deepStrictEqual((yield* alive(3)).map(({ TTL }) => TTL), [600n, 600n, 600n])
  const left = yield* channel.unary("etcdserverpb.Lease/LeaseTimeToLive", { ID: granted.ID, keys: true })
  assert.deepInclude(left, { grantedTTL: 600n, keys: [bytes(key)] })
  yield* channel.unary("etcdserverpb.Lease/LeaseRevoke", { ID: granted.ID })
  assert.strictEqual((yield* range(channel, { key: bytes(key) })).count, 0n)
  // a lease that is no more has no time left
  assert.deepStrictEqual((yield* alive(1)).map(({ TTL }) => TTL), [0n])
})

/** Gets a snapshot, all of it: its end is the SHA-256 of what is before. Gives its size. */
export const snapshots = Effect.fnUntraced(function*(channel: GrpcChannel) {
  const parts = yield* channel.serverStream("etcdserverpb.Maintenance/Snapshot", {}).pipe(
    Stream.mapEffect((part) => Schema.decodeUnknownEffect(Part)(part)),
    Stream.runCollect
  )
  assert.strictEqual(parts.at(-1)!.remainingBytes, 0n)
  const whole = Buffer.concat(parts.map(({ blob }) => blob))
  const sum = Crypto.createHash("sha256").update(whole.subarray(0, -32)).digest("hex")
  assert.strictEqual(whole.subarray(-32).toString("hex"), sum)
  return whole.length
})

export const status = (channel: GrpcChannel) => channel.unary("etcdserverpb.Maintenance/Status", {})

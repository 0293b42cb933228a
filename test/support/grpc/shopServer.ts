/** The shop of `shop.proto`, served by grpc-js with the code that ts-proto generated. */
import { assert } from "@effect/vitest"
import * as Grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import * as NetAddress from "effect/net/NetAddress"
import * as Listener from "../../../src/services/Listener.ts"
import { Colour, type Item, type ShopServer, ShopService } from "./generated/shop.ts"

/** What the server has seen. */
export interface Seen {
  calls: number
  /** Those that are over, in whatever way. */
  ended: number
}

export const itemOf = (id: string, priceCents: bigint): Item => ({
  id,
  priceCents,
  colour: Colour.COLOUR_RED,
  picture: Buffer.from([1, 2, 3]),
  tags: ["new"],
  stock: { berlin: 2 },
  note: undefined,
  size: { width: 1, height: 2 },
  madeAt: new Date(1_700_000_000_000),
  courier: undefined,
  parcel: undefined
})

const trailers = () => {
  const metadata = new Grpc.Metadata()
  metadata.set("x-trace", "end")
  return metadata
}

type Call = Pick<Grpc.ServerUnaryCall<unknown, unknown>, "metadata" | "sendMetadata"> & {
  readonly on: (event: "cancelled", listener: () => void) => unknown
}

const handlers = (seen: Seen): ShopServer => {
  /** Every call says what it was asked with, and is watched until it ends. */
  const open = (call: Call) => {
    seen.calls++
    // which grpc-js says of all calls in the end
    call.on("cancelled", () => void seen.ended++)
    const headers = new Grpc.Metadata()
    for (const asked of call.metadata.get("x-ask")) headers.add("x-asked", asked)
    call.sendMetadata(headers)
  }
  return {
    getItem: (call, reply) => {
      open(call)
      const { id } = call.request
      if (id === "none") return reply({ code: Grpc.status.NOT_FOUND, details: "no such item", metadata: trailers() })
      reply(null, itemOf(id, 100n), trailers())
    },
    listItems: (call) => {
      open(call)
      const { count, failAfter } = call.request
      // with nothing asked for, the call stays open
      if (count === 0) return
      for (let sent = 0; sent < count; sent++) {
        if (failAfter > 0 && sent === failAfter) {
          call.emit("error", { code: Grpc.status.ABORTED, details: "stopped", metadata: trailers() })
          return
        }
        call.write(itemOf(`item ${sent}`, BigInt(sent)))
      }
      call.end(trailers())
    },
    buy: (call, reply) => {
      open(call)
      let items = 0
      let totalCents = 0n
      call.on("data", ({ priceCents }: Item) => {
        items++
        totalCents += priceCents
      })
      call.on("end", () => {
        if (!call.cancelled) reply(null, { items, totalCents }, trailers())
      })
    },
    exchange: (call) => {
      open(call)
      call.on("data", (item: Item) => call.write(item))
      call.on("end", () => call.end(trailers()))
    }
  }
}

/** Serves the shop on whatever network there is. */
export const serveShop = Effect.gen(function*() {
  const seen: Seen = { calls: 0, ended: 0 }
  const server = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const server = new Grpc.Server()
      server.addService(ShopService, handlers(seen))
      return server
    }),
    (server) => Effect.sync(() => server.forceShutdown())
  )
  const injector = yield* Effect.acquireRelease(
    Effect.sync(() => server.createConnectionInjector(Grpc.ServerCredentials.createInsecure())),
    (injector) => Effect.sync(() => injector.destroy())
  )
  const listener = yield* Listener.Listener
  const { accept, address } = yield* listener.bind({ host: "127.0.0.1", port: 0 })
  yield* Effect.forkScoped(
    Effect.forever(Effect.flatMap(accept, (duplex) => Effect.sync(() => injector.injectConnection(duplex))))
  )
  assert(NetAddress.isInetAddress(address))
  return { seen, url: `http://127.0.0.1:${address.port}` }
})

/**
 * How the property suites are run: by default so many cases that CI has time for them, always the same ones.
 *
 * `HAWSER_CASES=100000 vitest run test/properties/reads.test.ts` tries that many, `HAWSER_SEED=x` others, and
 * `HAWSER_REPLAY=<token>`, with `-t` for one property, just the one whose token a failure has printed.
 */
import * as Schema from "effect/Schema"

const setting = (name: string): string | undefined => {
  const value = process.env[name]
  return value === undefined || value === "" ? undefined : value
}

/** How many cases a property is tried on. */
export const cases = (usual: number): number => Number(setting("HAWSER_CASES") ?? usual)

/** The last argument of `it.effect.prop`: so many cases, the same ones each time, and time enough for them. */
export const seeded = (usual: number, options: { readonly size?: number; readonly millisEach?: number } = {}) => ({
  arbitrary: {
    runs: cases(usual),
    seed: setting("HAWSER_SEED") ?? "hawser",
    size: options.size ?? 10,
    maxShrinks: 400,
    replay: setting("HAWSER_REPLAY")
  },
  timeout: 120_000 + cases(usual) * (options.millisEach ?? 500)
})

/** Whole numbers from `minimum` to `maximum`, both included. */
export const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/** How the connections of a link behave, as small data that is readable when a case fails: `linkOptions` makes options of it. */
export const Link = Schema.Struct({
  latency: Schema.Literals([0, 0, 1, 30]),
  /** Each piece may take so much longer. */
  jitter: Schema.Literals([0, 0, 5, 100]),
  fragment: Schema.Literals([65_536, 1000, 17, 5, 2, 1]),
  /** Whether each piece has another size, up to `fragment`. */
  uneven: Schema.Boolean,
  coalesce: Schema.Literals(["none", 0, 3, 200]),
  bufferSize: Schema.Literals([4 * 1024 * 1024, 65_536, 100, 3])
})

/** One direction of a network's link. */
export const linkOptions = (link: typeof Link.Type) => ({
  latency: link.jitter === 0 ? link.latency : { min: link.latency, max: link.latency + link.jitter },
  fragment: link.uneven ? { min: 1, max: link.fragment } : link.fragment,
  coalesce: link.coalesce === "none" ? false as const : link.coalesce,
  bufferSize: link.bufferSize
})

/** A fault of a connection: what happens, in which direction, and after how many thousandths of what would be sent that way. */
export const Cut = Schema.Struct({
  kind: Schema.Literals(["reset", "end", "corrupt"]),
  toServer: Schema.Boolean,
  at: between(0, 999)
})

/** After how many bytes a cut comes where `size` would be sent. */
export const offsetOf = (cut: typeof Cut.Type, size: number): number => Math.floor(cut.at * size / 1000)

import { type GrpcSchemaErrorReason, UnknownField, WrongType } from "../../../../errors/GrpcSchemaError.ts"

type Step = string | number

/**
 * What is wrong with a value or with bytes, and where: thrown by a walk, and each level that it comes through puts its own
 * step in front of the path. It is no `Error`: nobody needs its stack.
 */
export class Problem {
  private readonly steps: Array<Step> = []
  private readonly make: (path: string) => GrpcSchemaErrorReason

  constructor(make: (path: string) => GrpcSchemaErrorReason) {
    this.make = make
  }

  /** This problem, one level further out. */
  within(step: Step): this {
    this.steps.push(step)
    return this
  }

  get reason(): GrpcSchemaErrorReason {
    return this.make(
      this.steps.reduceRight<string>(
        (path, step) => typeof step === "number" ? `${path}[${step}]` : path === "" ? step : `${path}.${step}`,
        ""
      )
    )
  }
}

export const wrong = (expected: string, got: string) => new Problem((path) => new WrongType({ path, expected, got }))

export const unknownField = (name: string, known: ReadonlyArray<string>) =>
  new Problem((path) => new UnknownField({ path, known })).within(name)

/** What was thrown as a problem: by protobufjs when bytes end too early, or by a getter of the caller's. */
export const problemOf = (thrown: unknown, expected: string): Problem =>
  thrown instanceof Problem
    ? thrown
    : wrong(expected, `malformed: ${thrown instanceof Error ? thrown.message : String(thrown)}`)

/** Says what a value is without telling its contents, which may be nobody else's business. */
export const kindOf = (value: unknown): string => {
  if (value === null) return "null"
  if (Array.isArray(value)) return "an array"
  if (value instanceof Uint8Array) return "bytes"
  if (typeof value === "object") return "an object"
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") return String(value)
  return typeof value === "undefined" ? "undefined" : `a ${typeof value}`
}

/** For numbers and names, where the value itself is what is wrong with it. */
export const valueOf = (value: unknown): string =>
  typeof value === "string" ? JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}...` : value) : kindOf(value)

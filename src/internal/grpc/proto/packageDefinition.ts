import * as Predicate from "effect/Predicate"

const property = (value: unknown, name: string): unknown => Predicate.hasProperty(value, name) ? value[name] : undefined

/** The descriptors that proto-loader puts beside its (de)serialisers. Each comes once for every type in it. */
export const descriptorsOf = (definition: { readonly [name: string]: object }): ReadonlyArray<Uint8Array> =>
  Object.values(definition).flatMap((entry) =>
    // a message or an enum, or a service whose members are methods
    [
      entry,
      ...Object.values(entry).flatMap((method) => [property(method, "requestType"), property(method, "responseType")])
    ]
      .flatMap((type) => {
        const files = property(type, "fileDescriptorProtos")
        return Array.isArray(files) ? files.filter((file) => file instanceof Uint8Array) : []
      })
  )

import protobuf from "protobufjs"

/** What has this full name, and nothing else: protobufjs's own look-up also takes what has it in part. */
export const find = (root: protobuf.Root, name: string): protobuf.ReflectionObject | undefined =>
  name.split(".").reduce<protobuf.ReflectionObject | undefined>(
    (scope, part) => scope instanceof protobuf.Namespace ? scope.get(part) ?? undefined : undefined,
    root
  )

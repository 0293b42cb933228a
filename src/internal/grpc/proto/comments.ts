import protobuf from "protobufjs"
import type * as Descriptor from "./descriptor.ts"
import { steps } from "./descriptor.ts"
import { find } from "./find.ts"

/** Without the blank that stands behind `//` on each line. */
const textOf = ({ leadingComments, trailingComments }: Descriptor.Location) =>
  (leadingComments ?? trailingComments)?.split("\n").map((line) => line.replace(/^ /, "").trimEnd()).join("\n").trim()

type Path = ReadonlyArray<number>

/** Gives what protobufjs made of a file the comments of the file, which protobufjs leaves out. */
export const attach = (root: protobuf.Root, file: Descriptor.File): void => {
  const comments = new Map(
    file.sourceCodeInfo?.location.flatMap((location) => {
      const text = textOf(location)
      return text === undefined || text === "" ? [] : [[location.path.join(), text] as const]
    })
  )
  if (comments.size === 0) return
  const of = (...path: Path) => comments.get(path.join()) ?? null
  const scope = file.package === undefined ? root : find(root, file.package)
  if (!(scope instanceof protobuf.Namespace)) return

  const enumeration = (parent: protobuf.NamespaceBase, { name, value }: Descriptor.Enum, path: Path) => {
    const type = parent.get(name)
    if (!(type instanceof protobuf.Enum)) return
    type.comment = of(...path)
    value.forEach(({ name }, index) => type.comments[name] = of(...path, steps.enum.value, index))
  }
  const message = (parent: protobuf.NamespaceBase, descriptor: Descriptor.Message, path: Path) => {
    const type = parent.get(descriptor.name)
    if (!(type instanceof protobuf.Type)) return
    const { message: step } = steps
    type.comment = of(...path)
    descriptor.field.forEach(({ name }, index) => {
      const field = type.fields[name]
      if (field !== undefined) field.comment = of(...path, step.field, index)
    })
    descriptor.oneofDecl.forEach(({ name }, index) => {
      const oneof = type.oneofs?.[name]
      if (oneof !== undefined) oneof.comment = of(...path, step.oneofDecl, index)
    })
    descriptor.nestedType.forEach((nested, index) => message(type, nested, [...path, step.nestedType, index]))
    descriptor.enumType.forEach((nested, index) => enumeration(type, nested, [...path, step.enumType, index]))
  }
  const { file: step } = steps
  file.messageType.forEach((type, index) => message(scope, type, [step.messageType, index]))
  file.enumType.forEach((type, index) => enumeration(scope, type, [step.enumType, index]))
  file.service.forEach(({ method, name }, index) => {
    const service = scope.get(name)
    if (!(service instanceof protobuf.Service)) return
    service.comment = of(step.service, index)
    method.forEach(({ name }, at) => {
      const method = service.methods[name]
      if (method !== undefined) method.comment = of(step.service, index, steps.service.method, at)
    })
  })
}

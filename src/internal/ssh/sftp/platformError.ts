import * as PlatformError from "effect/PlatformError"
import type { SftpStatusName, SshError } from "../../../errors/SshError.ts"

const module = "SftpFileSystem"

/** What a server's answer means to a file system; not what it cannot do, which is a bad argument. */
const tags: Readonly<Record<SftpStatusName, PlatformError.SystemErrorTag>> = {
  EndOfFile: "UnexpectedEof",
  NoSuchFile: "NotFound",
  PermissionDenied: "PermissionDenied",
  Failure: "Unknown",
  BadMessage: "InvalidData",
  NoConnection: "Unknown",
  ConnectionLost: "Unknown",
  OpUnsupported: "Unknown",
  Other: "Unknown"
}

export const badArgument = (method: string, description: string): PlatformError.PlatformError =>
  PlatformError.badArgument({ module, method, description })

const systemError = (
  tag: PlatformError.SystemErrorTag,
  method: string,
  path: string,
  error: SshError,
  description: string
) =>
  PlatformError.systemError({
    _tag: tag,
    module,
    method,
    description,
    pathOrDescriptor: path,
    cause: error
  })

/** What a failure of SFTP is to those who know file systems. */
export const fromSsh = (method: string, path: string) => (error: SshError): PlatformError.PlatformError => {
  const { reason } = error
  if (reason._tag !== "SftpStatus") return systemError("Unknown", method, path, error, error.message)
  return reason.status === "OpUnsupported"
    ? PlatformError.badArgument({ module, method, description: reason.detail, cause: error })
    : systemError(tags[reason.status], method, path, error, reason.detail)
}

/** What version 3 of SFTP has no number for. */
export const alreadyExists = (method: string, path: string, error: SshError): PlatformError.PlatformError =>
  systemError("AlreadyExists", method, path, error, "it exists already")

/** A folder whose mode lets nobody write. */
export const notWritable = (path: string): PlatformError.PlatformError =>
  PlatformError.systemError({
    _tag: "PermissionDenied",
    module,
    method: "access",
    description: "nobody may write to it",
    pathOrDescriptor: path
  })

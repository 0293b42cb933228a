import type * as Host from "effect/net/Host"
import { formatHost, formatHostPort, hostPortFromInput, isHostPort } from "effect/net/Host"
import * as NetAddress from "effect/net/NetAddress"
import * as Result from "effect/Result"
import { InvalidTarget } from "../../errors/DialError.ts"

/** What callers may write: `"db:5432"`, `"[::1]:80"`, `{ host, port }`, `{ path }`, or an address of `effect/net`. */
export type DialTarget = Host.HostPortInput | NetAddress.SocketAddress | NetAddress.UnixPathAddressParts

/** A target that has been understood. */
export type Target = Host.HostPort | NetAddress.UnixPathAddress

const show = (input: DialTarget): string => {
  if (typeof input === "string") return input
  if (isHostPort(input) || NetAddress.isSocketAddress(input)) return format(input)
  return "path" in input ? input.path : `${String(input.host)}:${input.port}`
}

const refuse = (input: DialTarget, why: string) => Result.fail(new InvalidTarget({ input: show(input), why }))

/** What fits into `sockaddr_un` with its NUL; older versions of Node cut what is longer and use another path in silence. */
const maxPath = process.platform === "win32" ? Infinity : process.platform === "linux" ? 107 : 103

/** Understands an address to listen on, or says why it cannot: as a target, but port 0 means "choose one". */
export const parseAddress = (input: DialTarget): Result.Result<Target, InvalidTarget> => {
  if (typeof input === "object" && "path" in input) {
    if (input.path === "") return refuse(input, "the socket path is empty")
    return Buffer.byteLength(input.path) > maxPath
      ? refuse(input, `the socket path is longer than ${maxPath} bytes`)
      : Result.succeed(NetAddress.unixPathAddress(input.path))
  }
  const parsed = hostPortFromInput(
    NetAddress.isInetAddress(input) ? { host: input.address, port: input.port } : input
  )
  return Result.isFailure(parsed) ? refuse(input, parsed.failure.message) : Result.succeed(parsed.success)
}

/** Understands a target, or says why it cannot. */
export const parse = (input: DialTarget): Result.Result<Target, InvalidTarget> =>
  Result.flatMap(
    parseAddress(input),
    (target) =>
      isHostPort(target) && target.port === 0 ? refuse(input, "port 0 cannot be dialled") : Result.succeed(target)
  )

/** `db:5432`, `[::1]:80` or a socket path. */
export const format = (target: Target | NetAddress.SocketAddress): string =>
  isHostPort(target)
    ? formatHostPort(target)
    : NetAddress.isUnixPathAddress(target)
    ? target.path
    : NetAddress.formatInet(target)

/** The host without brackets or port; `localhost` for a unix socket, which has no name of its own. */
export const hostOf = (target: Target): string => isHostPort(target) ? formatHost(target.host) : "localhost"

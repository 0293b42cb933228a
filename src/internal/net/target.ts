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
  return "path" in input ? formatPath(input.path) : `${String(input.host)}:${input.port}`
}

const refuse = (input: DialTarget, why: string) => Result.fail(new InvalidTarget({ input: show(input), why }))

/** A Linux socket without a file: a name behind a NUL, written as an `@` as Linux's own tools do. */
export const formatPath = (path: string) => path.startsWith("\0") ? `@${path.slice(1)}` : path

/** What fits into `sockaddr_un` with its NUL; older versions of Node cut what is longer and use another path in silence. */
const maxPath = process.platform === "win32" ? Infinity : process.platform === "linux" ? 107 : 103

const refusalOfPath = (path: string): string | undefined => {
  if (path === "") return "the socket path is empty"
  if (path.startsWith("\0") && process.platform !== "linux") return "only Linux has abstract sockets"
  if (path === "\0") return "the abstract socket has no name"
  if (path.includes("\0", 1)) return "the socket path holds a NUL"
  return Buffer.byteLength(path) > maxPath ? `the socket path is longer than ${maxPath} bytes` : undefined
}

/** Understands an address to listen on, or says why it cannot: as a target, but port 0 means "choose one". */
export const parseAddress = (input: DialTarget): Result.Result<Target, InvalidTarget> => {
  if (typeof input === "object" && "path" in input) {
    const refusal = refusalOfPath(input.path)
    return refusal === undefined ? Result.succeed(NetAddress.unixPathAddress(input.path)) : refuse(input, refusal)
  }
  const parsed = hostPortFromInput(
    NetAddress.isInetAddress(input) ? { host: input.address, port: input.port } : input
  )
  return Result.isFailure(parsed) ? refuse(input, parsed.failure.message) : Result.succeed(parsed.success)
}

const understand = (input: DialTarget): Result.Result<Target, InvalidTarget> =>
  Result.flatMap(
    parseAddress(input),
    (target) =>
      isHostPort(target) && target.port === 0 ? refuse(input, "port 0 cannot be dialled") : Result.succeed(target)
  )

/** Programs dial the same few targets over and over, and every step of a path has to understand them. */
class Understood {
  private readonly targets = new Map<string, Result.Result<Target, InvalidTarget>>()
  private readonly limit = 256

  get(key: string, input: DialTarget): Result.Result<Target, InvalidTarget> {
    const known = this.targets.get(key)
    if (known !== undefined) return known
    const target = understand(input)
    if (Result.isSuccess(target)) {
      if (this.targets.size >= this.limit) this.targets.clear()
      this.targets.set(key, target)
    }
    return target
  }
}

const inOnePart = new Understood()
const inTwoParts = new Understood()

/** Understands a target, or says why it cannot. */
export const parse = (input: DialTarget): Result.Result<Target, InvalidTarget> =>
  typeof input === "string"
    ? inOnePart.get(input, input)
    : "host" in input && typeof input.host === "string"
    ? inTwoParts.get(`${input.port} ${input.host}`, input)
    : understand(input)

/** `db:5432`, `[::1]:80` or a socket path. */
export const format = (target: Target | NetAddress.SocketAddress): string =>
  isHostPort(target)
    ? formatHostPort(target)
    : NetAddress.isUnixPathAddress(target)
    ? formatPath(target.path)
    : NetAddress.formatInet(target)

const hosts = new WeakMap<Target, string>()

/** The host without brackets or port; `localhost` for a unix socket, which has no name of its own. */
export const hostOf = (target: Target): string => {
  if (!isHostPort(target)) return "localhost"
  let host = hosts.get(target)
  if (host === undefined) hosts.set(target, host = formatHost(target.host))
  return host
}

/** The family of a target that is an address; a name and a unix socket have none. */
export const familyOf = (target: Target): NetAddress.IpFamily | undefined =>
  !isHostPort(target) || (typeof target.host === "string" && !target.host.includes(":"))
    ? undefined
    : NetAddress.isIpv4Address(target.host)
    ? "IPv4"
    : "IPv6"

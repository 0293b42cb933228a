const meanings = {
  EADDRINUSE: "address already in use",
  EADDRNOTAVAIL: "address not available",
  ENETDOWN: "network is down"
}

type Code =
  | keyof typeof meanings
  | "EAI_AGAIN"
  | "ECANCELED"
  | "ECONNREFUSED"
  | "ECONNRESET"
  | "EHOSTUNREACH"
  | "ENOENT"
  | "ENOTFOUND"
  | "EPIPE"
  | "ETIMEDOUT"

/** The error that Node makes of a failed system call. */
export const systemError = (
  syscall: "connect" | "getaddrinfo" | "listen" | "read" | "write",
  code: Code,
  subject = ""
): NodeJS.ErrnoException => {
  const meaning = syscall === "listen" && code in meanings ? `: ${Reflect.get(meanings, code)}` : ""
  return Object.assign(new Error(`${syscall} ${code}${meaning}${subject === "" ? "" : ` ${subject}`}`), {
    syscall,
    code
  })
}

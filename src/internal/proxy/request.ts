import type { DialErrorReason } from "../../errors/DialError.ts"
import type { Target } from "../net/target.ts"

/** What a client of a proxy asked for, and how to answer it. */
export interface Request {
  readonly target: Target
  /** Says that the target was reached, and gives the code that says so. From here on the stream is the client's and the target's. */
  readonly grant: () => number
  /** Says why it was not, or just a code of the protocol's, and gives the code that was said. */
  readonly refuse: (why: DialErrorReason | number) => number
}

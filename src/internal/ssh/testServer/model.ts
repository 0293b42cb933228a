/** What those who only test with the server have to know: nothing of ssh2, whose types they may not have. */

/** A pair of keys: the private one as a file holds it, the public one as a line of `authorized_keys`. */
export interface KeyPair {
  readonly private: string
  readonly public: string
}

/** What is asked at once. */
export interface QuestionRound {
  /** The title above the questions. Default: none. */
  readonly title?: string | undefined
  /** What is said below it. Default: nothing. */
  readonly instruction?: string | undefined
  /** The questions, whether the answers may be shown while they are typed, and those that let in. */
  readonly prompts: ReadonlyArray<{ readonly prompt: string; readonly echo: boolean; readonly answer: string }>
}

/** An attempt to log in. */
export interface Login {
  readonly user: string
  /** How: `none`, `password`, `publickey`, `keyboard-interactive`, ... */
  readonly method: string
  /** Whether that let in, was refused, or was right and not enough. */
  readonly outcome: "accepted" | "refused" | "partial"
}

/** How a command ended: by itself, by a signal, or without a word of it. */
export type Ending =
  | { readonly code: number }
  | { readonly signal: string; readonly coreDumped: boolean; readonly description: string }
  | undefined

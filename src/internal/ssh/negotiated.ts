/** The algorithms of one direction, see `SshSession.Negotiated`. */
export interface Direction {
  readonly cipher: string
  readonly mac: string
  readonly compression: string
}

/** What the two sides agreed on, see `SshSession.Negotiated`. */
export interface Negotiated {
  readonly keyExchange: string
  readonly hostKey: string
  readonly sending: Direction
  readonly receiving: Direction
}

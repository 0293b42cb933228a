import type { Peer } from "./info.ts"

/** What a server gave us to take up a session again, and whom we had verified then. */
export interface Session {
  readonly ticket: Buffer
  /** A resumed session sends no certificates: the peer is that of the handshake it began with. */
  readonly peer: Peer
  /** Of TLS 1.3, where a ticket is meant for one connection. Of earlier versions one session serves for all. */
  readonly once: boolean
}

/** Servers send two tickets for each handshake; connections that are made at the same time need one each. */
const maxPerPeer = 32
const maxPeers = 64

/** The sessions that can be taken up again, by peer. What has waited longest is dropped first. */
export class Sessions {
  private readonly peers = new Map<string, Array<Session>>()

  /**
   * The newest session with a peer. Tickets are used once as long as there are others, so that an observer cannot tell
   * that two connections are of one client (RFC 8446, C.4); the last one is used again, because many servers, Node's among
   * them, give no new ones to who resumes.
   */
  take(peer: string): Session | undefined {
    const sessions = this.peers.get(peer)
    const session = sessions?.at(-1)
    if (sessions === undefined || session === undefined) return undefined
    // no session outlives the certificates it was verified by
    if (session.peer.expires <= Date.now()) {
      this.peers.delete(peer)
      return undefined
    }
    if (sessions.length > 1) sessions.pop()
    return session
  }

  put(peer: string, session: Session): void {
    const sessions = this.peers.get(peer) ?? []
    // a Map keeps the order of insertion: what was used last goes to the end
    this.peers.delete(peer)
    this.peers.set(peer, sessions)
    // one that can be used again and again needs no second one
    if (!session.once) sessions.length = 0
    sessions.push(session)
    if (sessions.length > maxPerPeer) sessions.shift()
    if (this.peers.size > maxPeers) {
      for (const oldest of this.peers.keys()) {
        this.peers.delete(oldest)
        break
      }
    }
  }

  /** Forgets a peer who does not take up its sessions any more. */
  drop(peer: string): void {
    this.peers.delete(peer)
  }
}

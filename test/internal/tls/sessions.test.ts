import { assert, describe, it } from "@effect/vitest"
import { type Session, Sessions } from "../../../src/internal/tls/sessions.ts"

const session = (name: string, options: Partial<Session> = {}): Session => ({
  ticket: Buffer.from(name),
  peer: { chain: [], expires: Infinity },
  once: true,
  ...options
})

const taken = (sessions: Sessions, peer = "db") => sessions.take(peer)?.ticket.toString()

describe("Sessions", () => {
  it("gives the newest ticket of a peer, each once while there are others", () => {
    const sessions = new Sessions()
    for (const name of ["first", "second", "third"]) sessions.put("db", session(name))
    sessions.put("web", session("other"))
    assert.deepStrictEqual([1, 2, 3, 4].map(() => taken(sessions)), ["third", "second", "first", "first"])
    assert.strictEqual(taken(sessions, "web"), "other")
    assert.isUndefined(taken(sessions, "mail"))
  })
  it("keeps one session for all where it can be used again and again", () => {
    const sessions = new Sessions()
    for (const name of ["first", "second"]) sessions.put("db", session(name, { once: false }))
    assert.deepStrictEqual([1, 2, 3].map(() => taken(sessions)), ["second", "second", "second"])
  })
  it("forgets a peer when it is told to", () => {
    const sessions = new Sessions()
    sessions.put("db", session("old"))
    sessions.drop("db")
    assert.isUndefined(taken(sessions))
  })
  it("gives no session that outlives the certificates it was verified by", () => {
    const sessions = new Sessions()
    sessions.put("db", session("valid"))
    sessions.put("db", session("expired", { peer: { chain: [], expires: Date.now() - 1 } }))
    assert.isUndefined(taken(sessions))
    assert.isUndefined(taken(sessions))
  })
  it("keeps 32 tickets of a peer, the newest", () => {
    const sessions = new Sessions()
    for (let n = 0; n < 40; n++) sessions.put("db", session(String(n)))
    const all = Array.from({ length: 32 }, () => taken(sessions))
    assert.deepStrictEqual(all, Array.from({ length: 32 }, (_, n) => String(39 - n)))
    assert.strictEqual(taken(sessions), "8")
  })
  it("keeps 64 peers, those that gave a ticket last", () => {
    const sessions = new Sessions()
    for (let n = 0; n < 64; n++) sessions.put(`peer ${n}`, session("x"))
    sessions.put("peer 0", session("y"))
    sessions.put("one more", session("z"))
    assert.strictEqual(taken(sessions, "peer 0"), "y")
    assert.isUndefined(taken(sessions, "peer 1"))
    assert.strictEqual(taken(sessions, "peer 2"), "x")
    assert.strictEqual(taken(sessions, "one more"), "z")
  })
})

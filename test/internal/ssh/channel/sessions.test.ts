import { assert, describe, it } from "@effect/vitest"
import { EventEmitter } from "node:events"
import Ssh2, { type ClientChannel } from "ssh2"
import { Sessions } from "../../../../src/internal/ssh/channel/sessions.ts"

/** As much of a channel as matters here. */
const fakeChannel = (): any => {
  const stream = () => Object.assign(new EventEmitter(), { resume: () => undefined })
  const channel = Object.assign(stream(), { stderr: stream(), type: "session", close: () => channel.emit("close") })
  return channel
}

/** A server that answers requests when it is told to. */
const scripted = () => {
  const sessions = new Sessions(new Ssh2.Client(), { event: () => undefined })
  const asked: Array<{ readonly name: string; readonly accept: () => ClientChannel; readonly refuse: () => void }> = []
  const log: Array<string> = []
  const open = (name: string) =>
    sessions.open(
      (done) => {
        asked.push({
          name,
          accept: () => {
            const channel: ClientChannel = fakeChannel()
            done(undefined, channel)
            return channel
          },
          refuse: () =>
            done(Object.assign(new Error("(SSH) Channel open failure: open failed"), { reason: 2 }), fakeChannel())
        })
      },
      () => log.push(`${name} opened`),
      (reason) => log.push(`${name} ${reason.message}`)
    )
  /** What the server is asked now. */
  const next = () => asked.shift() ?? assert.fail("it was not asked")
  return { sessions, asked, log, open, next }
}

describe("session channels beyond what a server allows", () => {
  it("wait until another one is closed, in the order in which they came", () => {
    const { asked, log, next, open, sessions } = scripted()
    for (const name of ["a", "b", "c", "d"]) open(name)
    const a = next().accept()
    const b = next().accept()
    // the answers to those that were asked for together
    const [c, d] = [next(), next()]
    d.refuse()
    c.refuse()
    open("e")
    assert.deepStrictEqual([sessions.queued, asked.length], [3, 0])
    a.emit("close")
    assert.strictEqual(asked[0]?.name, "c")
    next().accept()
    b.emit("close")
    assert.strictEqual(next().name, "d")
    assert.deepStrictEqual(log, ["a opened", "b opened", "c opened"])
  })

  it("are asked for once more when one was closed in the meantime, which servers take a moment to know", () => {
    const { asked, log, next, open } = scripted()
    open("a")
    open("long")
    const a = next().accept()
    next().accept()
    a.emit("close")
    open("b")
    next().refuse()
    next().accept()
    assert.deepStrictEqual(log, ["a opened", "long opened", "b opened"])
    open("c")
    next().refuse()
    next().refuse()
    assert.strictEqual(asked.length, 0)
  })

  it("are an error where no other one is open", () => {
    const { log, next, open, sessions } = scripted()
    open("a")
    open("b")
    const a = next()
    next().refuse()
    assert.strictEqual(sessions.queued, 1)
    a.refuse()
    assert.deepStrictEqual(log, ["a the server refused: open failed (2)"])
    next().refuse()
    assert.deepStrictEqual(log.slice(1), ["b the server refused: open failed (2)"])
  })

  it("are not asked for when nobody wants them any more", () => {
    const { asked, log, next, open, sessions } = scripted()
    open("a")
    const a = next().accept()
    const giveUp = open("b")
    next().refuse()
    open("c")
    assert.strictEqual(sessions.queued, 2)
    giveUp()
    assert.strictEqual(sessions.queued, 1)
    a.emit("close")
    assert.deepStrictEqual(asked.map(({ name }) => name), ["c"])
    const stop = open("d")
    // one at a time, as who came later might be luckier
    assert.deepStrictEqual(asked.map(({ name }) => name), ["c"])
    next().accept()
    assert.deepStrictEqual(asked.map(({ name }) => name), ["d"])
    stop()
    // closed at once, which makes room
    next().accept()
    assert.deepStrictEqual(log, ["a opened", "c opened"])
  })

  it("make room when what was to run on them is refused", () => {
    const { next, open } = scripted()
    const failing = new Sessions(new Ssh2.Client(), { event: () => undefined })
    const failures: Array<string> = []
    failing.open(
      (done) => done(new Error("Unable to exec"), fakeChannel()),
      () => {},
      ({ message }) => failures.push(message)
    )
    assert.deepStrictEqual(failures, ["the server refused: Unable to exec (0)"])
    failing.open(
      () => {
        throw new Error("Not connected")
      },
      () => {},
      ({ _tag }) => failures.push(_tag)
    )
    assert.strictEqual(failures[1], "ConnectionLost")
    open("a")
    next().accept()
  })
})

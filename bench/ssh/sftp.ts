/** Copying files over SFTP: a large one each way, also where the way is long, and many small ones both ways. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Scope from "effect/Scope"
import type { Sftp } from "hawser"
import { mkdirSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import type { SFTPWrapper } from "ssh2"
import type { Address, Client, Pair, Round, StartClient, Suite } from "../harness/benchmark.ts"
import { repeat } from "../tcp/transfer.ts"
import { folderOf } from "./account.ts"
import * as Hawser from "./hawser.ts"
import * as OpenSsh from "./openSshClient.ts"
import { quoted } from "./peers/lasting.ts"
import * as Ssh2 from "./ssh2.ts"

type Copy = (from: string, to: string) => Promise<unknown>

/** How to copy from the server, and to it. Both are on this machine, which only the contender does not know. */
interface Copies {
  readonly get: Copy
  readonly put: Copy
}

const openHawser = async (address: Address): Promise<Copies> => {
  const runtime = ManagedRuntime.make(NodeServices.layer)
  const session = await Hawser.openSession(address)
  const sftp: Sftp.Sftp = await Effect.runPromise(Scope.provide(session.sftp, Scope.makeUnsafe()))
  return {
    get: (from, to) => runtime.runPromise(sftp.download(from, to)),
    put: (from, to) => runtime.runPromise(sftp.upload(from, to))
  }
}

const openSsh2Sftp = async (address: Address): Promise<SFTPWrapper> => {
  const client = await Ssh2.connect(Ssh2.settingsOf(address))
  return new Promise((resolve, reject) => {
    client.sftp((error, sftp) => error === undefined ? resolve(sftp) : reject(error))
  })
}

type Done = (error?: Error | null) => void

const promised = (work: (done: Done) => void): Promise<void> =>
  new Promise((resolve, reject) => {
    work((error) => error === undefined || error === null ? resolve() : reject(error))
  })

const ssh2Copies = (sftp: SFTPWrapper): Copies => ({
  get: (from, to) => promised((done) => sftp.fastGet(from, to, done)),
  put: (from, to) => promised((done) => sftp.fastPut(from, to, done))
})

const openSsh2 = async (address: Address) => ssh2Copies(await openSsh2Sftp(address))

const openOpenSsh = (host: string) => (address: Address): Copies => {
  const { run } = OpenSsh.sftp(address, host)
  return {
    get: (from, to) => run(`get ${from} ${to}`),
    put: (from, to) => run(`put ${from} ${to}`)
  }
}

/** In MiB. */
const size = 256

/** Copies the large file one way, onto the copy before. */
const large = (
  direction: keyof Copies,
  open: (address: Address) => Copies | Promise<Copies>
): StartClient =>
async (address) => {
  const copy = (await open(address))[direction]
  const from = join(folderOf(address), "big")
  const to = join(folderOf(address), `${direction}-${process.pid}`)
  return (round) =>
    repeat(round, async () => {
      await copy(from, to)
      round.seen?.(readFileSync(to))
      return size
    })
}

/** The names of the small files, and of their folders. */
const list = (folder: string): { readonly files: ReadonlyArray<string>; readonly folders: ReadonlyArray<string> } => {
  const folders = readdirSync(folder)
  return { folders, files: folders.flatMap((name) => readdirSync(join(folder, name)).map((file) => join(name, file))) }
}

/** Copies all small files from the server and then all to it, each onto the copy before. */
const small = (
  open: (address: Address) => Promise<{ readonly get: Copy; readonly put: Copy }>
): StartClient =>
async (address): Promise<Client> => {
  const { get, put } = await open(address)
  const from = join(folderOf(address), "small")
  const { files } = list(from)
  const look = (folder: string, seen: Round["seen"]) => {
    if (seen === undefined) return
    for (const file of files) seen(readFileSync(join(folder, file)))
  }
  // what is copied is a folder of this name, in a folder that is there
  const targetOf = (direction: string) => {
    const folder = join(folderOf(address), `${direction}-${process.pid}`)
    mkdirSync(folder)
    return join(folder, "small")
  }
  const got = targetOf("got")
  const sent = targetOf("sent")
  return (round) =>
    repeat(round, async () => {
      await get(from, got)
      look(got, round.seen)
      await put(from, sent)
      look(sent, round.seen)
      return 2 * files.length
    })
}

/** A file at a time for each of so many, which is what is left to do where nothing copies folders. */
const concurrency = 32

const openSsh2Trees = async (address: Address): Promise<Copies> => {
  const sftp = await openSsh2Sftp(address)
  const { get, put } = ssh2Copies(sftp)
  const copyTree = (makeFolder: Copy, copy: Copy): Copy => async (from, to) => {
    const { files, folders } = list(from)
    for (const folder of ["", ...folders]) await makeFolder("", join(to, folder))
    const left = files.values()
    const copySome = async () => {
      for (const file of left) await copy(join(from, file), join(to, file))
    }
    await Promise.all(Array.from({ length: concurrency }, copySome))
  }
  return {
    get: copyTree(async (_, folder) => mkdirSync(folder, { recursive: true }), get),
    // a folder that is there already is refused
    put: copyTree((_, folder) => promised((done) => sftp.mkdir(folder, () => done())), put)
  }
}

const openScp = async (address: Address): Promise<Copies> => {
  const options = await OpenSsh.shared(address)
  const { run } = OpenSsh.shell()
  const remote = (path: string) => quoted(`bench:${path}`)
  return {
    get: (from, to) => run(`scp -rq ${options} ${remote(from)} ${quoted(join(to, ".."))}`),
    put: (from, to) => run(`scp -rq ${options} ${quoted(from)} ${remote(join(to, ".."))}`)
  }
}

const pairs = (openssh: number, ssh2?: number): ReadonlyArray<Pair> => [
  { contender: "hawser", baseline: "openssh", atLeast: openssh },
  { contender: "hawser", baseline: "ssh2", ...(ssh2 === undefined ? {} : { atLeast: ssh2 }) }
]

const bigFile = new URL("peers/bigFile.ts", import.meta.url)

const suite: Suite = {
  url: import.meta.url,
  benchmarks: [
    {
      name: "sftp get",
      unit: "MiB",
      checkLimit: 1,
      rounds: 12,
      measures: "client",
      peer: bigFile,
      contenders: {
        hawser: large("get", openHawser),
        ssh2: large("get", openSsh2),
        openssh: large("get", openOpenSsh("bench"))
      },
      pairs: pairs(1.2, 1.5)
    },
    {
      name: "sftp put",
      unit: "MiB",
      checkLimit: 1,
      rounds: 12,
      measures: "client",
      peer: bigFile,
      contenders: {
        hawser: large("put", openHawser),
        ssh2: large("put", openSsh2),
        openssh: large("put", openOpenSsh("bench"))
      },
      pairs: pairs(1, 1.5)
    },
    {
      name: "sftp get 20ms",
      unit: "MiB",
      checkLimit: 1,
      rounds: 5,
      measures: "client",
      peer: new URL("peers/farBigFile.ts", import.meta.url),
      contenders: {
        hawser: large("get", openHawser),
        ssh2: large("get", openSsh2),
        openssh: large("get", openOpenSsh("far"))
      },
      pairs: pairs(2)
    },
    {
      name: "sftp small files",
      unit: "files",
      checkLimit: 1,
      rounds: 5,
      measures: "client",
      peer: new URL("peers/smallFiles.ts", import.meta.url),
      contenders: { hawser: small(openHawser), ssh2: small(openSsh2Trees), openssh: small(openScp) },
      pairs: pairs(3)
    }
  ]
}

export default suite

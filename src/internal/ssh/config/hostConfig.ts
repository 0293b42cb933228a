import type { Forward } from "./forward.ts"
import type { Jump } from "./jump.ts"
import type { Place } from "./reading.ts"

/** What the configuration files say about a host. */
export interface HostConfig {
  /** The host as it was asked for. */
  readonly host: string
  /** What is dialled (`HostName`). */
  readonly hostname: string
  readonly port: number
  readonly username: string
  /** The servers to go through, the first one first; none where `ProxyJump` is `none` or not there. */
  readonly proxyJump: ReadonlyArray<Jump>
  /** The command whose input and output are the connection, with its tokens replaced. */
  readonly proxyCommand: string | undefined
  /** Paths of private keys, those that ssh looks for where none are given among them. */
  readonly identityFiles: ReadonlyArray<string>
  readonly certificateFiles: ReadonlyArray<string>
  /** The path of the agent's socket; none where `IdentityAgent` is `none`, or there is no agent. */
  readonly identityAgent: string | undefined
  /** The path of the socket of the agent that the server may use (`ForwardAgent`). */
  readonly forwardedAgent: string | undefined
  readonly userKnownHostsFiles: ReadonlyArray<string>
  readonly globalKnownHostsFiles: ReadonlyArray<string>
  readonly revokedHostKeys: ReadonlyArray<string>
  /** The variables that `SendEnv` and `SetEnv` have the server set. */
  readonly env: Readonly<Record<string, string>>
  readonly localForwards: ReadonlyArray<Forward>
  readonly remoteForwards: ReadonlyArray<Forward>
  readonly dynamicForwards: ReadonlyArray<Forward>
  /**
   * All keywords, in lower case, with their values, as `ssh -G` prints them; a flag is `yes` or `no`, and a list of algorithms
   * is as it is written.
   */
  readonly values: Readonly<Record<string, ReadonlyArray<string>>>
  /** Where a keyword is written; none where its value is a default. */
  readonly placeOf: (keyword: string) => Place | undefined
}

const defaultIdentities = ["rsa", "ecdsa", "ecdsa_sk", "ed25519", "ed25519_sk", "xmss", "dsa"]

/** The values of what is not written, for what means something here. */
export const defaults: Readonly<Record<string, ReadonlyArray<string>>> = {
  batchmode: ["no"],
  canonicalizehostname: ["no"],
  clearallforwardings: ["no"],
  compression: ["no"],
  connectionattempts: ["1"],
  connecttimeout: ["none"],
  exitonforwardfailure: ["no"],
  forwardagent: ["no"],
  globalknownhostsfile: ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"],
  hashknownhosts: ["no"],
  identitiesonly: ["no"],
  identityfile: defaultIdentities.map((type) => `~/.ssh/id_${type}`),
  kbdinteractiveauthentication: ["yes"],
  numberofpasswordprompts: ["3"],
  passwordauthentication: ["yes"],
  port: ["22"],
  proxyusefdpass: ["no"],
  pubkeyauthentication: ["yes"],
  rekeylimit: ["0", "0"],
  requesttty: ["auto"],
  serveralivecountmax: ["3"],
  serveraliveinterval: ["0"],
  sessiontype: ["default"],
  stricthostkeychecking: ["ask"],
  userknownhostsfile: ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"]
}

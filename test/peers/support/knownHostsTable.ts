/** Files of known hosts, and what `ssh` decides by them. */
import type { Decided, Meeting } from "./hostKeyServers.ts"

/** What the files are made of. */
export interface Parts {
  /** Keys as files hold them: type and base64. Those of the servers, others of the same types, a certificate authority. */
  readonly keys: Readonly<
    Record<"ed25519" | "rsa" | "ecdsa" | "otherEd25519" | "otherRsa" | "otherEcdsa" | "ca" | "certificate", string>
  >
  /** The port of the server. */
  readonly port: number
  /** Hashes the names of lines, with `ssh-keygen -H`. */
  readonly hash: (lines: string) => string
}

export interface Row extends Meeting {
  readonly title: string
  /** One file, or several. */
  readonly files: (parts: Parts) => string | ReadonlyArray<string>
  readonly ssh: Decided
  /** Where we cannot decide as `ssh` does, and why. */
  readonly ours?: readonly [decided: Decided, because: string]
}

/** A name at the server's port. */
const at = (host: string) => ({ port }: Parts) => `[${host}]:${port}`
const here = at("localhost")

/** A file with one line: these names, and the key that the server shows. */
const named = (names: string | ((parts: Parts) => string)) => (parts: Parts) =>
  `${typeof names === "string" ? names : names(parts)} ${parts.keys.ed25519}\n`

const cut = (key: string, bytes: (blob: Buffer) => Buffer) => {
  const [type, base64 = ""] = key.split(" ")
  return `${type} ${bytes(Buffer.from(base64, "base64")).toString("base64")}`
}

const names: ReadonlyArray<Row> = [
  { title: "the name with its port", files: named(here), ssh: "accepted" },
  { title: "the name without its port, which counts as well", files: named("localhost"), ssh: "accepted" },
  {
    title: "the name without its port, with another key, which does not count",
    files: ({ keys }) => `localhost ${keys.otherEd25519}\n`,
    ssh: "unknown"
  },
  {
    title: "another key for the port, and this one without it",
    files: (parts) => `localhost ${parts.keys.ed25519}\n${here(parts)} ${parts.keys.otherEd25519}\n`,
    ssh: "changed"
  },
  { title: "another port", files: named("[localhost]:22"), ssh: "unknown" },
  { title: "a name in brackets without a port", files: named("[localhost]"), ssh: "unknown" },
  { title: "the address that the name has", files: named(at("127.0.0.1")), ssh: "unknown" },
  { title: "an address", host: "127.0.0.1", files: named(at("127.0.0.1")), ssh: "accepted" },
  { title: "nothing", files: () => "", ssh: "unknown" },
  { title: "the name among others", files: named((parts) => `web,${here(parts)},10.0.0.1`), ssh: "accepted" },
  { title: "the name in upper case", files: named(({ port }) => `[LOCALHOST]:${port}`), ssh: "accepted" },
  { title: "a name that is asked for in upper case", host: "DB.test", files: named(at("db.test")), ssh: "accepted" },
  { title: "a name at port 22", host: "db.test", port: 22, files: named("db.test"), ssh: "accepted" },
  { title: "port 22 in brackets", host: "db.test", port: 22, files: named("[db.test]:22"), ssh: "unknown" },
  { title: "a name with a dot behind it", host: "db.test.", files: named(at("db.test")), ssh: "unknown" },
  { title: "an IPv6 address with its port", host: "::1", files: named(at("::1")), ssh: "accepted" },
  { title: "an IPv6 address at port 22", host: "::1", port: 22, files: named("::1"), ssh: "accepted" },
  { title: "an IPv6 address in brackets at port 22", host: "::1", port: 22, files: named("[::1]"), ssh: "unknown" },
  { title: "an IPv6 address written out", host: "0:0:0:0:0:0:0:1", files: named(at("::1")), ssh: "accepted" },
  { title: "an IPv6 address in upper case", host: "FE80::AB", files: named(at("fe80::ab")), ssh: "accepted" },
  { title: "an IPv4 address in IPv6", host: "::ffff:10.0.0.1", files: named(at("::ffff:10.0.0.1")), ssh: "accepted" },
  { title: "a name in quotes", files: named((parts) => `"${here(parts)}"`), ssh: "unknown" },
  {
    title: "a name of letters that are not ASCII",
    host: "bücher.test",
    files: named(at("bücher.test")),
    ssh: "accepted"
  },
  {
    title: "letters that are not ASCII, in the other case",
    host: "bücher.test",
    files: named(at("bÜcher.test")),
    ssh: "unknown"
  },
  { title: "an alias", alias: "db", files: named("db"), ssh: "accepted" },
  { title: "an alias in the other case", alias: "Db", files: named("dB"), ssh: "accepted" },
  { title: "an alias with the port", alias: "db", files: named(at("db")), ssh: "unknown" },
  { title: "the name, where there is an alias", alias: "db", files: named(here), ssh: "unknown" }
]

const patterns: ReadonlyArray<Row> = [
  { title: "a star", files: named("*"), ssh: "accepted" },
  { title: "stars in a name and for a port", files: named("[l*st]:*"), ssh: "accepted" },
  { title: "a star for nothing", files: named((parts) => `${here(parts)}*`), ssh: "accepted" },
  { title: "question marks", files: named(({ port }) => `[l?calhos?]:${port}`), ssh: "accepted" },
  { title: "a question mark too many", files: named((parts) => `${here(parts)}?`), ssh: "unknown" },
  {
    title: "two question marks for a letter of two bytes",
    host: "bücher.test",
    files: named(at("b??cher.test")),
    ssh: "accepted"
  },
  {
    title: "one question mark for a letter of two bytes",
    host: "bücher.test",
    files: named(at("b?cher.test")),
    ssh: "unknown"
  },
  { title: "the name left out of a pattern", files: named((parts) => `*,!localhost,!${here(parts)}`), ssh: "unknown" },
  {
    title: "the name left out before the pattern",
    files: named((parts) => `!localhost,!${here(parts)},*`),
    ssh: "unknown"
  },
  {
    title: "the port left out, not the name without it",
    files: named((parts) => `local*,!${here(parts)}`),
    ssh: "accepted"
  },
  { title: "only a name left out", files: named("!web"), ssh: "unknown" },
  { title: "a pattern in upper case", files: named("[LOCAL*]:*"), ssh: "accepted" },
  { title: "characters that mean something elsewhere", files: named("[localhost]:[0-9]+"), ssh: "unknown" },
  {
    title: "a pattern that is too long beside the name",
    files: named((parts) => `${here(parts)},${"x".repeat(1023)}`),
    ssh: "unknown"
  },
  {
    title: "a long pattern beside the name",
    files: named((parts) => `${here(parts)},${"x".repeat(1022)}`),
    ssh: "accepted"
  }
]

const hashes: ReadonlyArray<Row> = [
  { title: "a hashed name", files: (parts) => parts.hash(named(here)(parts)), ssh: "accepted" },
  { title: "a hashed name without its port", files: (parts) => parts.hash(named("localhost")(parts)), ssh: "accepted" },
  { title: "another name, hashed", files: (parts) => parts.hash(named("web")(parts)), ssh: "unknown" },
  { title: "an alias, hashed", alias: "Db", files: (parts) => parts.hash(named("db")(parts)), ssh: "accepted" },
  {
    title: "a hashed name with another key",
    files: (parts) => parts.hash(`${here(parts)} ${parts.keys.otherEd25519}\n`),
    ssh: "changed"
  },
  {
    title: "a hash without its padding",
    files: (parts) => parts.hash(named(here)(parts)).replace("= ", " "),
    ssh: "unknown"
  },
  {
    title: "a hash of another kind",
    files: (parts) => parts.hash(named(here)(parts)).replace("|1|", "|2|"),
    ssh: "unknown"
  },
  {
    title: "a hashed name in a list",
    files: (parts) => parts.hash(named(here)(parts)).replace("= ", "=,web "),
    ssh: "unknown"
  },
  { title: "half a hash", files: named("|1|"), ssh: "unknown" }
]

const keys: ReadonlyArray<Row> = [
  { title: "another key", files: (parts) => `${here(parts)} ${parts.keys.otherEd25519}\n`, ssh: "changed" },
  {
    title: "several keys of a type",
    files: (parts) => `${here(parts)} ${parts.keys.otherEd25519}\n${here(parts)} ${parts.keys.ed25519}\n`,
    ssh: "accepted"
  },
  {
    title: "a key of a type that it would not show first",
    files: (parts) => `${here(parts)} ${parts.keys.rsa}\n`,
    ssh: "accepted"
  },
  {
    title: "a key of a type that it has not",
    server: "withoutEd25519",
    files: (parts) => `${here(parts)} ${parts.keys.ed25519}\n`,
    ssh: "changed"
  },
  {
    title: "another key of the best type, and the right one of a type that it would not show first",
    files: (parts) => `${here(parts)} ${parts.keys.otherEd25519}\n${here(parts)} ${parts.keys.rsa}\n`,
    ssh: "changed"
  },
  {
    title: "another key of a type that comes before that of the right one",
    files: (parts) => `${here(parts)} ${parts.keys.rsa}\n${here(parts)} ${parts.keys.otherEcdsa}\n`,
    ssh: "changed"
  },
  {
    title: "the best type, which it has not, and the right key of a type that it would not show first",
    server: "withoutEd25519",
    files: (parts) => `${here(parts)} ${parts.keys.ed25519}\n${here(parts)} ${parts.keys.rsa}\n`,
    ssh: "changed"
  },
  {
    title: "a revoked key of a type, and the right one of a type that it would not show first",
    files: (parts) =>
      `${here(parts)} ${parts.keys.otherEcdsa}\n${
        here(parts)
      } ${parts.keys.rsa}\n@revoked * ${parts.keys.otherEcdsa}\n`,
    ssh: "accepted"
  },
  { title: "the key in the second file", files: (parts) => ["# nothing\n", named(here)(parts)], ssh: "accepted" },
  {
    title: "another key in the first file",
    files: (parts) => [`${here(parts)} ${parts.keys.otherEd25519}\n`, named(here)(parts)],
    ssh: "accepted"
  },
  {
    title: "a name without its port in the first file, another key for the port in the second",
    files: (parts) => [named("localhost")(parts), `${here(parts)} ${parts.keys.otherEd25519}\n`],
    ssh: "changed"
  },
  {
    title: "a type named by its signatures",
    files: (parts) => `${here(parts)} ${parts.keys.rsa.replace("ssh-rsa", "rsa-sha2-512")}\n`,
    ssh: "accepted"
  },
  {
    title: "another type than the key has",
    files: (parts) => `${here(parts)} ${parts.keys.ed25519.replace("ssh-ed25519", "ssh-rsa")}\n`,
    ssh: "unknown"
  },
  {
    title: "a type in upper case",
    files: (parts) => `${here(parts)} ${parts.keys.ed25519.replace("ssh-ed25519", "SSH-ED25519")}\n`,
    ssh: "unknown"
  },
  { title: "no type", files: (parts) => `${here(parts)} ${parts.keys.ed25519.split(" ")[1]}\n`, ssh: "unknown" },
  { title: "no key", files: (parts) => `${here(parts)} ssh-ed25519\n`, ssh: "unknown" },
  {
    title: "base64 that was cut",
    files: (parts) => `${here(parts)} ${parts.keys.ed25519.slice(0, -1)}\n`,
    ssh: "unknown"
  },
  {
    title: "a character that is not base64",
    files: (parts) => `${here(parts)} ${parts.keys.ed25519}!\n`,
    ssh: "unknown"
  },
  { title: "padding that is not needed", files: (parts) => `${here(parts)} ${parts.keys.ed25519}=\n`, ssh: "unknown" },
  {
    title: "a key that was cut",
    files: (parts) => `${here(parts)} ${cut(parts.keys.ed25519, (blob) => blob.subarray(0, -1))}\n`,
    ssh: "unknown"
  },
  {
    title: "bytes behind a key",
    files: (parts) => `${here(parts)} ${cut(parts.keys.ed25519, (blob) => Buffer.concat([blob, Buffer.alloc(3)]))}\n`,
    ssh: "unknown"
  },
  {
    title: "another key that was cut, which is none",
    files: (parts) => `${here(parts)} ${cut(parts.keys.otherEcdsa, (blob) => blob.subarray(0, -1))}\n`,
    ssh: "unknown"
  },
  {
    title: "a point beside its curve, which is no key",
    files: (parts) =>
      `${here(parts)} ${
        cut(parts.keys.otherEcdsa, (blob) => Buffer.concat([blob.subarray(0, -1), Buffer.of(blob.at(-1)! ^ 1)]))
      }\n`,
    ssh: "unknown"
  },
  {
    title: "a certificate in place of a key",
    files: (parts) => `${here(parts)} ${parts.keys.certificate}\n`,
    ssh: "changed"
  }
]

const marks: ReadonlyArray<Row> = [
  { title: "a revoked key", files: (parts) => `${named(here)(parts)}@revoked ${named(here)(parts)}`, ssh: "revoked" },
  {
    title: "a key that is revoked everywhere, before it is known",
    files: (parts) => `@revoked ${named("*")(parts)}${named(here)(parts)}`,
    ssh: "revoked"
  },
  { title: "a key that is revoked, and not known", files: (parts) => `@revoked ${named(here)(parts)}`, ssh: "revoked" },
  {
    title: "a key that is revoked in another file",
    files: (parts) => [named(here)(parts), `@revoked ${named("*")(parts)}`],
    ssh: "revoked"
  },
  {
    title: "a key that is revoked elsewhere",
    files: (parts) => `${named(here)(parts)}@revoked ${named("web")(parts)}`,
    ssh: "accepted"
  },
  {
    title: "a key that is revoked without its port, and not known",
    files: (parts) => `@revoked ${named("localhost")(parts)}`,
    ssh: "revoked"
  },
  {
    title: "a key that is revoked without its port, and known with it",
    files: (parts) => `@revoked ${named("localhost")(parts)}${named(here)(parts)}`,
    ssh: "accepted"
  },
  {
    title: "another revoked key",
    files: (parts) => `${named(here)(parts)}@revoked * ${parts.keys.otherEd25519}\n`,
    ssh: "accepted"
  },
  {
    title: "a key that is revoked by its certificate",
    files: (parts) => `${named(here)(parts)}@revoked * ${parts.keys.certificate}\n`,
    ssh: "revoked"
  },
  {
    title: "a mark with a tab behind it, which is none",
    files: (parts) => `${named(here)(parts)}@revoked\t${named("*")(parts)}`,
    ssh: "accepted"
  },
  {
    title: "a mark in a line with tabs only",
    files: (parts) => `${named(here)(parts)}@revoked\t${named("*")(parts).replaceAll(" ", "\t")}`,
    ssh: "revoked"
  },
  {
    title: "a mark with blanks behind it",
    files: (parts) => `${named(here)(parts)}@revoked \t ${named("*")(parts)}`,
    ssh: "revoked"
  },
  {
    title: "a mark in upper case",
    files: (parts) => `@REVOKED ${named("*")(parts)}${named(here)(parts)}`,
    ssh: "accepted"
  },
  { title: "a mark that nobody knows", files: (parts) => `@trusted ${named(here)(parts)}`, ssh: "unknown" },
  {
    title: "two marks",
    files: (parts) => `@revoked @revoked ${named("*")(parts)}${named(here)(parts)}`,
    ssh: "accepted"
  },
  { title: "nothing but a mark", files: (parts) => `@revoked\n${named(here)(parts)}`, ssh: "accepted" }
]

const noCertificates = "the server's certificate is not seen"

const certificates: ReadonlyArray<Row> = [
  {
    title: "a certificate authority, and a server without a certificate",
    files: (parts) => `@cert-authority * ${parts.keys.ca}\n`,
    ssh: "unknown",
    ours: ["unsupported", "whether the server has a certificate is not known"]
  },
  {
    title: "a certificate authority, and a server with a certificate",
    server: "certified",
    host: "certified.test",
    files: (parts) => `@cert-authority *.test ${parts.keys.ca}\n`,
    ssh: "accepted",
    ours: ["unsupported", noCertificates]
  },
  {
    title: "a certificate authority for the port, and a server with a certificate",
    server: "certified",
    host: "certified.test",
    files: (parts) => `@cert-authority ${at("certified.test")(parts)} ${parts.keys.ca}\n`,
    ssh: "accepted",
    ours: ["unsupported", noCertificates]
  },
  {
    title: "a certificate authority, and a server with the certificate of another",
    server: "certified",
    files: (parts) => `@cert-authority * ${parts.keys.ca}\n`,
    ssh: "unknown",
    ours: ["unsupported", noCertificates]
  },
  {
    title: "a certificate authority and the key itself",
    server: "certified",
    host: "certified.test",
    files: (parts) => `@cert-authority * ${parts.keys.ca}\n${at("certified.test")(parts)} ${parts.keys.ed25519}\n`,
    ssh: "accepted"
  },
  {
    title: "a certificate authority and another key",
    server: "certified",
    host: "certified.test",
    files: (parts) => `@cert-authority * ${parts.keys.ca}\n${at("certified.test")(parts)} ${parts.keys.otherEd25519}\n`,
    ssh: "accepted",
    ours: ["changed", noCertificates]
  },
  {
    title: "a certificate authority of others and the key itself",
    server: "certified",
    files: (parts) => `@cert-authority *.test ${parts.keys.ca}\n${named(here)(parts)}`,
    ssh: "accepted"
  },
  { title: "the key itself of a server with a certificate", server: "certified", files: named(here), ssh: "accepted" },
  { title: "nothing about a server with a certificate", server: "certified", files: () => "", ssh: "unknown" },
  {
    title: "a revoked authority",
    server: "certified",
    files: (parts) => `${named(here)(parts)}@revoked * ${parts.keys.ca}\n`,
    ssh: "revoked",
    ours: ["accepted", "the key is not revoked, and nobody asks for the certificate"]
  },
  {
    title: "the key of an authority as that of a server",
    files: (parts) => `@cert-authority ${named(here)(parts)}`,
    ssh: "unknown",
    ours: ["unsupported", noCertificates]
  }
]

const lines: ReadonlyArray<Row> = [
  {
    title: "comments, empty lines and blanks",
    files: (parts) => `# known\n\n \t\n  # more\n \t${named(here)(parts)}`,
    ssh: "accepted"
  },
  {
    title: "a comment behind the key",
    files: (parts) => `${here(parts)} ${parts.keys.ed25519} root@host # really\n`,
    ssh: "accepted"
  },
  { title: "a line that is a comment", files: (parts) => `#${named(here)(parts)}`, ssh: "unknown" },
  { title: "a comment behind the name", files: (parts) => `${here(parts)} #${parts.keys.ed25519}\n`, ssh: "unknown" },
  {
    title: "tabs and several blanks",
    files: (parts) => `${here(parts)}\t \t${parts.keys.ed25519.replace(" ", " \t ")}\tx\n`,
    ssh: "accepted"
  },
  {
    title: "lines that end as on Windows",
    files: (parts) => `# known\r\n\r\n${here(parts)} ${parts.keys.ed25519}\r\n`,
    ssh: "accepted"
  },
  {
    title: "lines that end as on Windows, with a comment",
    files: (parts) => `${here(parts)} ${parts.keys.ed25519} x\r\n`,
    ssh: "accepted"
  },
  { title: "no end of the last line", files: (parts) => named(here)(parts).trimEnd(), ssh: "accepted" },
  { title: "a line that was broken", files: (parts) => named(here)(parts).replace(/(.{60})/, "$1\n"), ssh: "unknown" },
  {
    title: "lines that cannot be understood, and then a good one",
    files: (parts) => `nonsense\n@\n@ x\nx y\nx ssh-foo AAAA\n${named(here)(parts)}`,
    ssh: "accepted"
  },
  { title: "a byte order mark", files: (parts) => `\uFEFF${named(here)(parts)}`, ssh: "unknown" },
  { title: "a zero in a comment", files: (parts) => `${here(parts)} ${parts.keys.ed25519} x\0y\n`, ssh: "accepted" },
  { title: "a zero in the name", files: (parts) => `\0${named(here)(parts)}`, ssh: "unknown" },
  { title: "another line separator", files: (parts) => `# x\u2028${named(here)(parts)}`, ssh: "unknown" },
  {
    title: "a vertical tab, which does not separate",
    files: (parts) => `${here(parts)}\v${parts.keys.ed25519}\n`,
    ssh: "unknown"
  }
]

/** All of it. */
export const knownHostsTable = { names, patterns, hashes, keys, marks, certificates, lines }

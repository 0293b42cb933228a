/** ssh_config texts to read and to have read by `ssh -G`. `{dir}` in them is the folder they are in. */

export interface Sample {
  readonly title: string
  readonly config: string
  /** What to ask for. Default `web`. */
  readonly host?: string
  /** More files in the same folder. */
  readonly files?: Readonly<Record<string, string>>
}

/** Texts that ssh understands. */
export const samples: ReadonlyArray<Sample> = [
  { title: "nothing", config: "" },
  { title: "comments, blank lines and indented ones", config: "# a\n\n   # b\n\tPort 2222 # c\n \t\n  User bob\f\n" },
  { title: "the first value wins", config: "Port 1\nPort 2\nHost *\nPort 3\nUser a\nUser b\n" },
  { title: "keywords in any case", config: "pOrT 77\nHOSTNAME Example.COM\nuSER Bob\n" },
  { title: "one equals sign, with or without blanks", config: "Port=2200\nUser = bob\nHostName =h\nHostKeyAlias= a\n" },
  { title: "CRLF", config: "Host web\r\n  Port 2222\r\n  User bob\r\n\r\nHost *\r\n  User x\r\n" },
  { title: "no newline at the end", config: "Host web\n Port 44" },
  {
    title: "quotes",
    config: "User \"bob\"\nIdentityFile \"/k/with blank\"\nHostKeyAlias 'single'\nControlPath \"/a b\"\n"
  },
  {
    title: "escapes",
    config: "IdentityFile /k/a\\ b\nIdentityFile \"/k/\\\"q\\\"\"\nIdentityFile /k/a\\b\nIdentityFile 'it\\'s'\n"
  },
  { title: "a quoted keyword", config: "\"Port\" 99\nUser \"a\"\"b\"\n" },
  { title: "a comment inside quotes", config: "IdentityFile \"/k/#1\" # end\nIdentityFile /k/#2\n" },
  {
    title: "Host with wildcards",
    config: "Host w?b\n Port 1\nHost w*\n User x\nHost ?\n HostKeyAlias no\nHost *eb\n HostName y\n"
  },
  { title: "Host with several patterns", config: "Host db web app\n Port 5\nHost db app\n User no\n" },
  { title: "Host with a negation before", config: "Host !web *\n Port 5\nHost * !db\n User yes\n" },
  { title: "Host with a negation alone", config: "Host !db\n Port 5\n" },
  { title: "Host in another case", config: "Host WEB\n Port 5\nHost Web\n User yes\n", host: "Web" },
  { title: "Host after HostName", config: "HostName other\nHost other\n Port 5\nHost web\n User yes\n" },
  { title: "HostName with a token", config: "HostName %h.example.com\nHostKeyAlias alias-%%\n" },
  { title: "HostName in capitals", config: "HostName WEB.Example.COM\n" },
  { title: "an address", config: "Host 10.*\n User ten\n", host: "10.1.2.3" },
  { title: "an IPv6 address", config: "HostName 2001:DB8:0:0::1\n" },
  { title: "user@host", config: "User other\nMatch user carol\n Port 9\n", host: "carol@web" },
  { title: "Match all", config: "Match all\n Port 5\nMatch !all\n User no\n" },
  { title: "Match host", config: "HostName web.example.com\nMatch host web.*\n Port 5\nMatch host web\n User no\n" },
  { title: "Match host in capitals", config: "Match host WEB\n Port 5\n" },
  {
    title: "Match originalhost",
    config: "HostName x\nMatch originalhost web,db\n Port 5\nMatch originalhost x\n User no\n"
  },
  {
    title: "Match user",
    config: "Match user bob\n Port 1\nMatch user root\n Port 2\nUser bob\nMatch user bob\n HostName b\n"
  },
  { title: "Match localuser", config: "Match localuser root\n Port 5\nMatch localuser !root,*\n User no\n" },
  {
    title: "Match with several conditions",
    config: "Match host w*,!db user root\n Port 5\nMatch host web user bob\n User no\n"
  },
  {
    title: "Match with a negation",
    config: "Match !host db\n Port 5\nMatch !host web\n User no\nMatch host web !user bob\n User yes\n"
  },
  { title: "Match with equals signs", config: "Match host=web user=root\n Port 5\n" },
  {
    title: "Match final",
    config: "HostName web.example.com\nMatch final host *.example.com\n Port 5\nMatch final\n User late\n"
  },
  {
    title: "Host in the second pass is about the name that was found out",
    config: "Host web\n SendEnv A\n HostName %h.example.com\nHost *.example.com\n Port 5\nMatch final\n User late\n"
  },
  {
    title: "Host in an included file in the second pass",
    config: "Host web\nInclude {dir}/one {dir}/two\n",
    files: { one: "  SendEnv A B\n  HostName %h.example.com", two: "Match final host alias" }
  },
  { title: "Match final sees what comes later", config: "Match final user bob\n Port 5\nUser bob\n" },
  { title: "Match final all", config: "Match final all\n Port 5\nSendEnv A\n" },
  { title: "Match canonical", config: "Match canonical all\n Port 5\n" },
  { title: "Match canonical in the second pass", config: "Match canonical host web\n Port 5\nMatch final\n User x\n" },
  {
    title: "Match exec",
    config: "Match exec true\n Port 5\nMatch exec false\n User no\nMatch !exec false\n HostKeyAlias a\n"
  },
  {
    title: "Match exec with tokens",
    config: "Port 33\nMatch exec \"test %h-%n-%p-%r-%u = web-web-33-root-root\"\n User yes\n"
  },
  {
    title: "Match exec after a condition that does not hold",
    config: "Match host db exec \"touch {dir}/never\"\n Port 5\n"
  },
  {
    title: "Include",
    config: "Include {dir}/one\nPort 3\nInclude {dir}/missing\n",
    files: { one: "Port 1\nUser one\n" }
  },
  {
    title: "Include with a pattern, in order",
    config: "Include {dir}/conf.*\n",
    files: {
      "conf.b": "Port 2\nUser b\n",
      "conf.a": "Port 1\n",
      "conf.B": "HostKeyAlias capital\n",
      "conf": "User no\n"
    }
  },
  {
    title: "Include of several",
    config: "Include {dir}/b \"{dir}/a b\"\n",
    files: { "b": "Port 2\n", "a b": "Port 1\nUser a\n" }
  },
  {
    title: "Include inside Host",
    config: "Host db\n Include {dir}/in\n User no\nHost web\n Include {dir}/in\n User yes\n",
    files: { in: "Port 7\nHost web\n HostName a\nHost *\n HostKeyAlias b\n" }
  },
  {
    title: "Include where nothing applies",
    config: "Host db\n Include {dir}/in\nHost web\n Port 1\n",
    files: { in: "User no\nHost *\n User no\nMatch all\n User no\n" }
  },
  {
    title: "Include does not change where it stands",
    config: "Host web\n Include {dir}/in\n Port 7\n",
    files: { in: "Host db\n Port 8\n" }
  },
  {
    title: "Include in Include, with Match",
    config: "Match host web\n Include {dir}/one\n",
    files: {
      one: "Include {dir}/two\nMatch user root\n Include {dir}/three\n",
      two: "Match user bob\n Port 1\n",
      three: "Port 3\n"
    }
  },
  {
    title: "Include with final inside",
    config: "Include {dir}/one\nUser bob\n",
    files: { one: "Match final user bob\n Port 3\n" }
  },
  {
    title: "IdentityFile more than once",
    config: "IdentityFile ~/a\nHost web\n IdentityFile /b\n IdentityFile ~/a\nMatch final\n IdentityFile /c\n"
  },
  {
    title: "IdentityFile with tokens stays as it is",
    config: "IdentityFile ~/.ssh/%h-%r-%p_${HOME}\nIdentityFile none\n"
  },
  {
    title: "CertificateFile",
    config: "CertificateFile ~/a-cert.pub\nCertificateFile /b\nCertificateFile ~/a-cert.pub\nIdentitiesOnly yes\n"
  },
  { title: "IdentityAgent", config: "IdentityAgent ~/agent-%h-${SAMPLE}\n" },
  { title: "IdentityAgent none", config: "IdentityAgent none\n" },
  { title: "IdentityAgent from a variable", config: "IdentityAgent $SAMPLE\n" },
  { title: "IdentityAgent as it would be", config: "IdentityAgent SSH_AUTH_SOCK\n" },
  { title: "SendEnv", config: "SendEnv LANG LC_*\nSendEnv FOO\nSendEnv -LC_* FOO\n" },
  { title: "SetEnv", config: "SetEnv A=1 B=\"x y\" A=2\nSetEnv C=3\n" },
  {
    title: "LocalForward",
    config:
      "LocalForward 80 web:81\nLocalForward 127.0.0.1:80 [::1]:81\nLocalForward [::1]:8080 web:80\nLocalForward 80 web:81\n"
  },
  { title: "LocalForward of sockets", config: "LocalForward /tmp/%h-%r.sock web:80\nLocalForward 90 /run/%n.sock\n" },
  { title: "LocalForward with a variable", config: "LocalForward 80 ${SAMPLE}:81\nLocalForward *:90 web:80\n" },
  {
    title: "RemoteForward",
    config: "RemoteForward 99 localhost:98\nRemoteForward 0 localhost:1\nRemoteForward /run/%h /tmp/%r\n"
  },
  { title: "RemoteForward without a target", config: "RemoteForward 1080\nRemoteForward 127.0.0.1:1081\n" },
  {
    title: "DynamicForward",
    config: "DynamicForward 1080\nDynamicForward 127.0.0.1:1081\nDynamicForward [::1]:1082\n"
  },
  {
    title: "ClearAllForwardings",
    config: "LocalForward 80 web:81\nDynamicForward 1080\nRemoteForward 9 x:9\nClearAllForwardings yes\n"
  },
  {
    title: "UserKnownHostsFile",
    config: "UserKnownHostsFile ~/a ~/b-%h-%k \"/c d\" ${SAMPLE}\nUserKnownHostsFile /no\n"
  },
  { title: "UserKnownHostsFile none", config: "UserKnownHostsFile none\nGlobalKnownHostsFile /a /b\n" },
  { title: "all tokens", config: "User joe\nPort 5\nUserKnownHostsFile /%d/%h/%i/%k/%L/%l/%n/%p/%r/%u/%%\n" },
  { title: "the connection's hash", config: "User joe\nHostName x\nPort 5\nUserKnownHostsFile /%C\n" },
  { title: "HostKeyAlias as a token", config: "HostKeyAlias Alias\nUserKnownHostsFile /%k\n" },
  { title: "times", config: "ConnectTimeout 1h30m\nServerAliveInterval 2M\nServerAliveCountMax 7\n" },
  { title: "times that are none", config: "ConnectTimeout none\nConnectTimeout 5\nServerAliveInterval 90s\n" },
  { title: "RekeyLimit", config: "RekeyLimit 1G 1h\n" },
  { title: "RekeyLimit without a time", config: "RekeyLimit 512K\n" },
  { title: "RekeyLimit as it would be", config: "RekeyLimit default none\n" },
  ...["yes", "no", "ask", "accept-new", "off"].map((value) => ({
    title: `StrictHostKeyChecking ${value}`,
    config: `StrictHostKeyChecking ${value}\nHashKnownHosts yes\nRevokedHostKeys /revoked\n`
  })),
  {
    title: "flags",
    config: "PasswordAuthentication no\nPubkeyAuthentication unbound\nKbdInteractiveAuthentication false\n"
  },
  {
    title: "names of before",
    config: "ChallengeResponseAuthentication no\nDSAAuthentication no\nProtocol 2\nCipher 3des\n"
  },
  {
    title: "PreferredAuthentications",
    config: "PreferredAuthentications publickey,password\nCompression yes\nConnectionAttempts 3\n"
  },
  {
    title: "RequestTTY and RemoteCommand",
    config: "RequestTTY force\nRemoteCommand echo \"%h\" '%%' # not a comment\n"
  },
  { title: "RemoteCommand none", config: "RemoteCommand none\nRequestTTY no\n" },
  { title: "ForwardAgent", config: "ForwardAgent yes\n" },
  { title: "ProxyCommand", config: "ProxyCommand /bin/nc -X \"5\" %h %p # 'x\n" },
  { title: "ProxyCommand with an equals sign", config: "ProxyCommand = nc %h\n" },
  { title: "ProxyCommand none", config: "ProxyCommand none\nProxyCommand nc\n" },
  { title: "ProxyJump", config: "ProxyJump joe@gate:2222\n" },
  { title: "a chain", config: "ProxyJump a,b@c,[::1]:22\n" },
  { title: "ProxyJump as a URI", config: "ProxyJump ssh://joe@gate:2222\n" },
  { title: "ProxyJump none", config: "ProxyJump none\nProxyJump gate\n" },
  { title: "ProxyJump before ProxyCommand", config: "ProxyJump gate\nProxyCommand nc\n" },
  { title: "ProxyCommand before ProxyJump", config: "ProxyCommand nc\nProxyJump gate\n" },
  { title: "ProxyJump none before ProxyCommand", config: "ProxyJump none\nProxyCommand nc\n" },
  { title: "ProxyCommand none before ProxyJump", config: "ProxyCommand none\nProxyJump gate\n" },
  { title: "Ciphers", config: "Ciphers aes256-ctr,aes128-gcm@openssh.com\n" },
  {
    title: "Ciphers added",
    config: "Ciphers +aes128-cbc,aes128-ctr\nMACs +hmac-md5\nKexAlgorithms +diffie-hellman-group14-sha1\n"
  },
  {
    title: "Ciphers taken away",
    config: "Ciphers -aes*-ctr,chacha*\nMACs -umac-*,*-etm@openssh.com\nKexAlgorithms -sntrup*\n"
  },
  {
    title: "Ciphers put first",
    config: "Ciphers ^aes256-ctr\nMACs ^hmac-sha2-512\nKexAlgorithms ^ecdh-sha2-nistp521\n"
  },
  { title: "HostKeyAlgorithms", config: "HostKeyAlgorithms ^rsa-sha2-512,ssh-ed25519\n" },
  {
    title: "HostKeyAlgorithms as patterns",
    config: "HostKeyAlgorithms ecdsa-sha2-*,ssh-rsa\nPubkeyAcceptedAlgorithms +ssh-rsa\n"
  },
  { title: "IgnoreUnknown", config: "IgnoreUnknown usekey*,Foo\nUseKeychain yes\nfoo bar \"x\"\nHost web\n Port 5\n" },
  { title: "what ssh passes over", config: "RhostsRSAAuthentication yes\nUseRoaming no\nCompressionLevel 9\n" }
]

/** Texts that ssh does not accept, and the line with the mistake. */
export const mistakes: ReadonlyArray<Sample & { readonly line: number }> = [
  { title: "an unknown keyword", config: "Port 1\nFrobnicate yes\n", line: 2 },
  { title: "an unknown keyword where nothing applies", config: "Host db\nFrobnicate yes\n", line: 2 },
  { title: "IgnoreUnknown that comes too late", config: "UseKeychain yes\nIgnoreUnknown *\n", line: 1 },
  { title: "a keyword alone", config: "Port\n", line: 1 },
  { title: "a port that is none", config: "\nPort 99999\n", line: 2 },
  { title: "port 0", config: "Port 0\n", line: 1 },
  { title: "a word too many", config: "User bob carol\n", line: 1 },
  { title: "a quote that is not closed", config: "User \"bob\n", line: 1 },
  { title: "a flag that is none", config: "HashKnownHosts maybe\n", line: 1 },
  { title: "a choice that is none", config: "StrictHostKeyChecking sometimes\n", line: 1 },
  { title: "a time that is none", config: "ConnectTimeout soon\n", line: 1 },
  { title: "a number that is none", config: "ServerAliveCountMax -1\n", line: 1 },
  { title: "a condition that is none", config: "Host x\nMatch weather sunny\n", line: 2 },
  { title: "a condition without argument", config: "Match host\n", line: 1 },
  { title: "all and another condition", config: "Match all host x\n", line: 1 },
  { title: "a forwarding that is none", config: "LocalForward 80\n", line: 1 },
  { title: "a forwarding from port 0", config: "LocalForward 0 web:80\n", line: 1 },
  { title: "a dynamic forwarding with a target", config: "DynamicForward 80 web:80\n", line: 1 },
  { title: "a jump to nowhere", config: "ProxyJump a,,b\n", line: 1 },
  { title: "a jump through a bad port", config: "ProxyJump a:99999\n", line: 1 },
  { title: "an environment variable without a value", config: "SetEnv A\n", line: 1 },
  { title: "a name of a variable with a value", config: "SendEnv A=1\n", line: 1 },
  { title: "none among others", config: "UserKnownHostsFile a none\n", line: 1 },
  { title: "a rekey limit that is too small", config: "RekeyLimit 1\n", line: 1 }
]

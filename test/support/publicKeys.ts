/** Public keys that ssh-keygen made, as files hold them: type and base64. */
export const publicKeys = {
  ed25519: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINa5FkdqAf/yr+A+eQebFzyKXnd5ot6ZAqdQ8ELzBB93",
  otherEd25519: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAN8xJjWPtKfHFF1clGzL/tPOyRGc0VXmLu7/SkR8yW5",
  ecdsa: "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBOfiupLJ6F4vQJE0IhQ0JaizuJNQ" +
    "3+xy68qd2+2B6TpXUqrTfwcL6JaSzGuhhLMIQQI5NwIJ4qR2iUjZqDGyJi87FOOA0ZDL68n/Lns1hCglKX8G7IPgziBYHEBJe8Uv" +
    "Sw==",
  ecdsa521: "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBADgpEI/qj9FJcJ3QvtkziTto4Y0" +
    "1OeIhO1dmQJwetqRWujsIgAgqwvWxixRp27R06BnuM9XDnerVl9bdgUsnjgmggBejzu1bAE5WD5vYNkKuxTNsxUmOD77xHWw7342" +
    "A+lnw3TJvig1ZoX2d5uoX6SlphovdSNo+EFYVXgNcF3L0UNugg==",
  rsa: "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQD2j2km6CYkmYHVjVU14kYISrpwMs3XzwEQW66TicjKGQV6ekIywwpxDsltdOD+" +
    "+5mdDSdaAHPXvdWDeEFWeWWk41kMrZnw2BY6svNnvDa5itZpbo6TAFCZmm9LjtN3MRVfatXCixDe0CVOaDtS7bikXDFir66z/bR6" +
    "Ba1RAKLm7w==",
  dsa: "ssh-dss AAAAB3NzaC1kc3MAAACBALRKWLGn9jpffSvRA9BV01SeZce3Je28S+URNJfiwD+pEUAWqaIbHi1NM8aeKrjYcRKB+lVB" +
    "DihHD/tPtTnyfdn56giujCnbYZ10ut/d2o7GDUgrJeO3MBNZ5HZvt6JZt+N6IPubTE9gAXVKdgQXGfq3zoyInm/D81LtXPiMUqeD" +
    "AAAAFQCgS1hWYyqqrcKQc1pVfCX2hvEaMQAAAIAhIWSxavTtnPiFVQaK81YfdLnSwqrL7u8hbBpWDiH5GxWpL23O1anVUIMbWYIc" +
    "6/oDxniTG7bwCXJ5s/R/aysBZlp89UCX37AAfTMKALfwYRwNGgf6F/0/DtVbod+miqLB6btFH+/DDWdsz57Ub+R+vNcQBmCBZcXH" +
    "dKKGMgAREAAAAIBydAxJSsruMEfD6pHXw3nQ01hbKbCUU+2oyQr3zBXsGf4tlCUsSRjScV2huFAPDHiow1/qRR4essvfUYH2kpo5" +
    "jjjDUtSIR55GXmUqhSAjOfkFjP0ncErElg9JHzXDMbW5hZSmpNidL4AIUWkLi+g5xUoh0lRTOWxVy++aKRfFpg==",
  /** A host certificate for `ed25519`. */
  certificate: "ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29tAAAAICV5gEjJv2WeWp+" +
    "+qGZumhx8Pe68D5fi1/QdxJnJvJSuAAAAINa5FkdqAf/yr+A+eQebFzyKXnd5ot6ZAqdQ8ELzBB93AAAAAAAAAAAAAAACAAAAAXg" +
    "AAAAGAAAAAmRiAAAAAAAAAAD//////////wAAAAAAAAAAAAAAAAAAADMAAAALc3NoLWVkMjU1MTkAAAAg5bEqfgfGhXc0W8KFKd9" +
    "Kkge0TrWEiwW3g1kNuH9iIkMAAABTAAAAC3NzaC1lZDI1NTE5AAAAQN06jmd896zeQDpijKAsQJgDRWMzsIFO6KfVWNl+BFU747g" +
    "fH71Fc+BE4M8jLhO2gBssQdUn8uzAPeF+jbhivgw="
}

/** Key revocation lists that ssh-keygen made: of `ed25519` itself, by its hashes, and of a certificate only. */
export const revocationLists = {
  key: Buffer.from(
    "U1NIS1JMCgAAAAABAAAAAAAAAAAAAAAAawHkmQAAAAAAAAAAAAAAAAAAAAACAAAANwAAADMAAAALc3NoLWVkMjU1MTkAAAAg1rkW" +
      "R2oB//Kv4D55B5sXPIped3mi3pkCp1DwQvMEH3c=",
    "base64"
  ),
  sha256: Buffer.from(
    "U1NIS1JMCgAAAAABAAAAAAAAAAAAAAAAawHkmQAAAAAAAAAAAAAAAAAAAAAFAAAAJAAAACDE6JYtU/2fzsmM5e/M4UltVvQzRwtG" +
      "oiYkRAl7UoZp9A==",
    "base64"
  ),
  sha1: Buffer.from(
    "U1NIS1JMCgAAAAABAAAAAAAAAAAAAAAAawHkmQAAAAAAAAAAAAAAAAAAAAADAAAAGAAAABT+pQ3fUWS5so4ANfOWcPd29hmxUA==",
    "base64"
  ),
  certificate: Buffer.from(
    "U1NIS1JMCgAAAAABAAAAAAAAAAAAAAAAawHkmQAAAAAAAAAAAAAAAAAAAAABAAAARQAAADMAAAALc3NoLWVkMjU1MTkAAAAg5bEq" +
      "fgfGhXc0W8KFKd9Kkge0TrWEiwW3g1kNuH9iIkMAAAAAIwAAAAUAAAABeA==",
    "base64"
  )
}

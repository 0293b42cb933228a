import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import { find } from "../../../../src/internal/ssh/config/identities.ts"
import { temporaryFolder } from "../../../support/servers.ts"
import { certificateOf } from "../../../support/sshCertificate.ts"
import { generateKey } from "../../../support/sshPeer.ts"

describe("identities", () => {
  it.effect("have the certificate that is for them and valid", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const { private: key, public: line } = generateKey()
      const bytes = Buffer.from(line.split(" ")[1] ?? "", "base64")
      const other = Buffer.from(generateKey().public.split(" ")[1] ?? "", "base64")
      const files = {
        id: key,
        other: certificateOf(other),
        expired: certificateOf(bytes, { validBefore: 0n }),
        valid: certificateOf(bytes)
      }
      for (const [name, text] of Object.entries(files)) Fs.writeFileSync(`${folder}/${name}`, text)
      const certificateAmong = (...names: ReadonlyArray<string>) =>
        Effect.map(
          find([`${folder}/id`, `${folder}/missing`], names.map((name) => `${folder}/${name}`)),
          (identities) => identities.map(({ certificate }) => certificate)
        )
      assert.deepStrictEqual(yield* certificateAmong("other", "expired", "valid", "missing"), [`${folder}/valid`])
      assert.deepStrictEqual(yield* certificateAmong("other", "expired"), [undefined])
    }))
})

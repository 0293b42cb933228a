/**
 * TLS options that cannot be used: a file that is missing, a key that does not fit its certificate.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * TLS options cannot be used. `option` names the one that is wrong (`ca`, `cert`, `key`, ...) and `detail` what to
 * mend. Key material is in neither.
 *
 * @category errors
 * @since 0.1.0
 */
export class TlsConfigError extends Schema.TaggedError<TlsConfigError>("hawser/TlsConfigError")("TlsConfigError", {
  option: Schema.String,
  detail: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  /** Trying again changes nothing: always false. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return `TLS option "${this.option}": ${this.detail}`
  }
}

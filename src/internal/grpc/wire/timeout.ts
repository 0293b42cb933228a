/** Units of the header `grpc-timeout`, in milliseconds. */
const units: Record<string, number> = { n: 1e-6, u: 1e-3, m: 1, S: 1000, M: 60_000, H: 3_600_000 }

const maxDigits = 99_999_999

/** What the server is told of a timeout: at most eight digits, rounded up so that it is never told less. */
export const encodeTimeout = (millis: number): string => {
  if (millis < 1) return `${Math.max(0, Math.ceil(millis * 1000))}u`
  for (const unit of ["m", "S", "M"]) {
    const value = Math.ceil(millis / units[unit]!)
    if (value <= maxDigits) return `${value}${unit}`
  }
  return `${Math.min(maxDigits, Math.ceil(millis / units["H"]!))}H`
}

/** The milliseconds of a header, or `undefined` when it makes no sense. */
export const decodeTimeout = (header: string): number | undefined => {
  const [, digits, unit] = /^(\d{1,8})([HMSmun])$/.exec(header) ?? []
  return digits === undefined || unit === undefined ? undefined : Number(digits) * units[unit]!
}

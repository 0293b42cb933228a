const slabSize = 16 * 1024

let slab = new ArrayBuffer(slabSize)
let used = 0

/**
 * The same bytes in memory of their own. Small ones share a buffer with each other: one for each would take longer than
 * all else that reading a message takes. They are no `Buffer`, whose `slice` would let memory be shared by mistake.
 */
export const copyOf = (bytes: Uint8Array): Uint8Array => {
  const size = bytes.length
  if (size > slabSize / 8) return new Uint8Array(bytes)
  if (used + size > slabSize) {
    slab = new ArrayBuffer(slabSize)
    used = 0
  }
  const copy = new Uint8Array(slab, used, size)
  copy.set(bytes)
  used += size
  return copy
}

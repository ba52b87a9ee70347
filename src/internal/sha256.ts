/**
 * SHA-256 (FIPS 180-4) and HMAC (RFC 2104) of it. WebCrypto has both as promises only, which the sync edge cannot wait for,
 * and `node:crypto` is not everywhere.
 */

/** How many bytes one round of the compression takes. */
const blockSize = 64

/** The first 32 bits of the fractional part: of roots of primes they are the constants of the standard. */
const fraction = (value: number): number => ((value - Math.floor(value)) * 2 ** 32) | 0

const isPrime = (n: number): boolean => {
  for (let factor = 2; factor * factor <= n; factor++) if (n % factor === 0) return false
  return true
}

const firstPrimes = (count: number): ReadonlyArray<number> => {
  const primes: Array<number> = []
  for (let n = 2; primes.length < count; n++) if (isPrime(n)) primes.push(n)
  return primes
}

const primes = firstPrimes(blockSize)
const initial = Int32Array.from(primes.slice(0, 8), (prime) => fraction(Math.sqrt(prime)))
const constants = Int32Array.from(primes, (prime) => fraction(Math.cbrt(prime)))

const rotate = (word: number, by: number): number => (word >>> by) | (word << (32 - by))

/** The 32 bytes of the hash. */
export const sha256 = (data: Uint8Array): Uint8Array => {
  const state = Int32Array.from(initial)
  const message = padded(data)
  const words = new DataView(message.buffer)
  const schedule = new Int32Array(blockSize)
  for (let offset = 0; offset < message.length; offset += blockSize) {
    for (let i = 0; i < 16; i++) schedule[i] = words.getInt32(offset + 4 * i)
    for (let i = 16; i < blockSize; i++) {
      const a = schedule[i - 15]!
      const b = schedule[i - 2]!
      const s0 = rotate(a, 7) ^ rotate(a, 18) ^ (a >>> 3)
      const s1 = rotate(b, 17) ^ rotate(b, 19) ^ (b >>> 10)
      schedule[i] = (schedule[i - 16]! + s0 + schedule[i - 7]! + s1) | 0
    }
    compress(state, schedule)
  }
  const digest = new Uint8Array(32)
  const out = new DataView(digest.buffer)
  for (const [index, word] of state.entries()) out.setInt32(4 * index, word)
  return digest
}

/** The message, a one bit, zeros, and the length in bits, in whole blocks. */
const padded = (data: Uint8Array): Uint8Array => {
  const message = new Uint8Array(Math.ceil((data.length + 9) / blockSize) * blockSize)
  message.set(data)
  message[data.length] = 0x80
  new DataView(message.buffer).setBigUint64(message.length - 8, BigInt(data.length) * 8n)
  return message
}

const compress = (state: Int32Array, schedule: Int32Array): void => {
  let [a, b, c, d, e, f, g, h] = state as unknown as [number, number, number, number, number, number, number, number]
  for (let i = 0; i < blockSize; i++) {
    const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)
    const choice = (e & f) ^ (~e & g)
    const t1 = (h + s1 + choice + constants[i]! + schedule[i]!) | 0
    const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)
    const majority = (a & b) ^ (a & c) ^ (b & c)
    h = g
    g = f
    f = e
    e = (d + t1) | 0
    d = c
    c = b
    b = a
    a = (t1 + s0 + majority) | 0
  }
  for (const [index, word] of [a, b, c, d, e, f, g, h].entries()) state[index] = (state[index]! + word) | 0
}

/** The 32 bytes of the message authentication code. */
export const hmacSha256 = (key: Uint8Array, data: Uint8Array): Uint8Array => {
  const block = new Uint8Array(blockSize)
  block.set(key.length > blockSize ? sha256(key) : key)
  const keyed = (pad: number, rest: Uint8Array): Uint8Array => {
    const message = new Uint8Array(blockSize + rest.length)
    message.set(block.map((byte) => byte ^ pad))
    message.set(rest, blockSize)
    return sha256(message)
  }
  return keyed(0x5c, keyed(0x36, data))
}

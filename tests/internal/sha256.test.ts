/** SHA-256 and HMAC give what those of Node give. */
import { assert, describe, it } from "@effect/vitest"
import { createHash, createHmac } from "node:crypto"
import { hmacSha256, sha256 } from "../../src/internal/sha256.ts"

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")
const text = (value: string) => new TextEncoder().encode(value)

describe("SHA-256", () => {
  it("gives the examples of the standard", () => {
    assert.strictEqual(hex(sha256(text(""))), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    assert.strictEqual(hex(sha256(text("abc"))), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    const long = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
    assert.strictEqual(hex(sha256(text(long))), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")
  })

  it("gives what Node gives, for every length up to four blocks", () => {
    for (let length = 0; length <= 256; length++) {
      const data = Uint8Array.from({ length }, (_, index) => (index * 37 + length) & 255)
      assert.strictEqual(hex(sha256(data)), createHash("sha256").update(data).digest("hex"))
    }
  })
})

describe("HMAC", () => {
  it("gives what Node gives, for keys and data shorter and longer than a block", () => {
    const bytes = (length: number) => Uint8Array.from({ length }, (_, index) => (index * 53 + length) & 255)
    for (let key = 0; key <= 140; key++) {
      const data = bytes((key * 7) % 200)
      const expected = createHmac("sha256", bytes(key)).update(data).digest("hex")
      assert.strictEqual(hex(hmacSha256(bytes(key), data)), expected)
    }
  })
})

import { assert, describe, it } from "vitest"
import { PartialJson } from "../../src/internal/partialJson.ts"

/** Numbers from 0 to 1, the same in every run. */
const random = (seed: number) => () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return seed / 2 ** 32
}

const value = (next: () => number, depth: number): unknown => {
  const kind = Math.floor(next() * (depth > 3 ? 5 : 7))
  const text = () =>
    Array.from({ length: Math.floor(next() * 8) }, () => '"\\\n\u0001aé😀{}[],:'.at(Math.floor(next() * 14))).join("")
  switch (kind) {
    case 0:
      return Math.round((next() - 0.5) * 1e6) / 100
    case 1:
      return next() < 0.5
    case 2:
      return null
    case 3:
    case 4:
      return text()
    case 5:
      return Array.from({ length: Math.floor(next() * 4) }, () => value(next, depth + 1))
    default:
      return Object.fromEntries(
        Array.from({ length: Math.floor(next() * 4) }, (_, index) => [`${index}${text()}`, value(next, depth + 1)])
      )
  }
}

const inPieces = (json: PartialJson, text: string, next: () => number): void => {
  for (let at = 0; at < text.length;) {
    const size = 1 + Math.floor(next() * 5)
    json.push(text.slice(at, at + size))
    at += size
  }
}
const read = (text: string): PartialJson => {
  const json = new PartialJson()
  json.push(text)
  return json
}

describe("JSON that comes in pieces", () => {
  it("is read as JSON.parse reads it whole, in any pieces", () => {
    const next = random(7)
    for (let run = 0; run < 500; run++) {
      const whole = { a: value(next, 0), b: [value(next, 0)] }
      const text = JSON.stringify(whole, undefined, run % 2 === 0 ? 0 : 2)
      const json = new PartialJson()
      inPieces(json, text, next)
      assert.isTrue(json.isOver, text)
      assert.deepStrictEqual(json.root, JSON.parse(text), text)
    }
  })

  it("has the string that is not finished alongside what is", () => {
    const json = read('{"a":[1,"two","thr')
    assert.deepStrictEqual(json.root, { a: [1, "two"] })
    assert.deepStrictEqual([json.open?.key, json.open?.text], ["2", "thr"])
    json.push("ee\\u00")
    assert.strictEqual(json.open?.text, "three")
    json.push('e9"')
    assert.deepStrictEqual([json.root, json.open], [{ a: [1, "two", "threeé"] }, undefined])
  })

  it("does not take a number or a word for whole before its end", () => {
    const json = read('{"n":12')
    assert.deepStrictEqual(json.root, {})
    json.push("3")
    json.push(',"t":tru')
    assert.deepStrictEqual(json.root, { n: 123 })
    json.push("e}")
    assert.deepStrictEqual(json.root, { n: 123, t: true })
  })

  it("begins after reasoning, sentences and fences", () => {
    const json = read('<think>maybe {"a": 0}?</think>\nHere it is:\n```json\n{"a": 1}\n```')
    assert.deepStrictEqual(json.root, { a: 1 })
  })

  it("stops at what is not JSON, and keeps what came before", () => {
    for (const text of [
      '{"a":1,,',
      '{"a":1 "b"',
      '{"a":1]',
      '{"a":nul,',
      '{"a":1,"b":01}',
      '{"a":1,"b":"\\x"}',
      '{"a":1,b:1}'
    ]) {
      const json = read(text)
      assert.isTrue(json.isOver, text)
      assert.deepStrictEqual(json.root, text.startsWith('{"a":nul') ? {} : { a: 1 }, text)
    }
    const polluted = read('{"__proto__":{"polluted":true}}')
    assert.isTrue(polluted.isOver)
    assert.strictEqual((polluted.root as { polluted?: boolean }).polluted, undefined)
    assert.isTrue(read("[".repeat(1000)).isOver)
  })

  it("hands over the items of the first list, and keeps none", () => {
    const items: Array<unknown> = []
    const json = new PartialJson((item) => items.push(item))
    inPieces(json, '{"title":"t","list":[1,{"a":[2]},"x",[3]],"other":[4]}', random(1))
    assert.deepStrictEqual(items, [1, { a: [2] }, "x", [3]])
    assert.deepStrictEqual(json.root, { title: "t", list: [], other: [4] })
  })
})

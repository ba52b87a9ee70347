/** What readers are shown of text that a model, server, skill or file gave. */
import { assert, describe, it } from "@effect/vitest"
import { escapeControls, oneLine, stripControls, stripControlsPieces } from "../../src/internal/text.ts"
import { cpuTime } from "../support/cpuTime.ts"

const hidden = {
  "escape sequences": "\u001B[31m",
  "control characters": "\u0000\u0007\u0008\u007f\u0085\u009c",
  "direction overrides and isolates": "\u202a\u202e\u2066\u2069\u200e\u200f\u061c",
  "tag characters": "\u{e0001}\u{e0041}\u{e007f}",
  "zero-width characters": "\u200b\u2060\ufeff\u180e\u00ad\u034f",
  "joiners between letters that do not join": "\u200c\u200d",
  fillers: "\u3164\u115f\uffa0",
  "variation selectors that nothing varies by": "\ufe01\ufe0f\u{e0101}"
}

describe("text without hidden characters", () => {
  for (const [what, characters] of Object.entries(hidden)) {
    it(`has no ${what}`, () => {
      assert.strictEqual(stripControls(`pay${characters}ment`), "payment")
      assert.strictEqual(oneLine(`pay${characters}ment`), "payment")
      const shown = escapeControls(`pay${characters}ment`)
      assert.match(shown, /^pay[!-~]+ment$/)
      assert.include(shown, "\\u{")
    })
  }

  it("takes a line separator for a line break", () => {
    assert.strictEqual(stripControls("a\u2028b\u2029c\r\nd\re"), "a\nb\nc\nd\ne")
    assert.strictEqual(oneLine(" a\u2028 b\n\tc "), "a b c")
    assert.strictEqual(escapeControls("a\u2028b\nc"), "a b c")
  })

  const kept = ["👨‍👩‍👧 ❤️ 🏳️‍🌈", "می‌خواهم", "क्‍ष", "葛\u{e0100}", "Grüße, мир, 世界", "a\tb"]
  for (const text of kept) it(`keeps ${text}`, () => assert.strictEqual(stripControls(text), text))

  it("takes linear time for any text", () => {
    for (const piece of ["\u001b[", "\u001b]", "\u009b1", "\u200d", "\u001bP", "a\u200d", "\u001b"]) {
      const once = piece.repeat(20_000)
      const ms = (text: string) => {
        const start = cpuTime()
        stripControls(text)
        stripControlsPieces().next(text)
        return cpuTime() - start
      }
      ms(once)
      assert.isBelow(ms(once.repeat(10)), 60 * Math.max(ms(once), 5), JSON.stringify(piece))
    }
  })

  it("reads an emoji that comes in pieces as it reads the whole", () => {
    const text = "👨‍👩‍👧 ❤️ 🏳️‍🌈 می‌خواهم q\u{e0041}q"
    for (let at = 0; at <= text.length; at++) {
      for (let next = at; next <= text.length; next++) {
        const clean = stripControlsPieces()
        const pieces = [text.slice(0, at), text.slice(at, next), text.slice(next)].map(clean.next)
        assert.strictEqual(pieces.join("") + clean.rest(), stripControls(text), `cut at ${at} and ${next}`)
      }
    }
  })
})

describe("text for a terminal", () => {
  it("keeps lines and tabs and nothing that could steer it", () => {
    assert.strictEqual(
      stripControls("a\tb\r\nc\u001B[2J\u001B]8;;http://x\u0007link\u001B]8;;\u0007\u0000\u009B31m\b\u001Bc"),
      "a\tb\nclink"
    )
  })

  it("takes sequences out that come in pieces, and loses no text", () => {
    const text = "one \u001B[31mtwo\u001B[0m \u001B]0;title\u0007three \u001Bcfour"
    for (const size of [1, 2, 3, 5, 8, 100]) {
      const clean = stripControlsPieces()
      const pieces = Array.from({ length: Math.ceil(text.length / size) }, (_, n) =>
        text.slice(n * size, (n + 1) * size)
      )
      assert.strictEqual(pieces.map(clean.next).join(""), "one two three four")
    }
  })

  it("reads pieces as it reads the whole, wherever they are cut", () => {
    const text = "one\r\ntwo \u001B]0;title\u001B\\three \u001B(Bfour \u001BPdata\u001B\\five\r\nsix"
    assert.strictEqual(stripControls(text), "one\ntwo three four five\nsix")
    for (let at = 1; at < text.length; at++) {
      const clean = stripControlsPieces()
      assert.strictEqual(
        clean.next(text.slice(0, at)) + clean.next(text.slice(at)),
        stripControls(text),
        `cut at ${at}`
      )
    }
  })

  it("gives back at the end what it held for a sequence that never ended", () => {
    const clean = stripControlsPieces()
    assert.strictEqual(clean.next("see \u001B]0;lost?"), "see ")
    assert.strictEqual(clean.rest(), "0;lost?")
    assert.strictEqual(clean.rest(), "")
  })
})

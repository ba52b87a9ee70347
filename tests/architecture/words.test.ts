/** The check of the project's English, tried on texts that break it: a check that finds nothing looks like a clean project. */
import { describe, expect, it } from "vitest"
import { check, find } from "../../scripts/words.ts"

const words = (text: string, isMarkdown = false) => find(text, isMarkdown).map(({ line, word }) => `${line} ${word}`)

describe("the check of words", () => {
  it.each([
    ["/** What the model is told. */", "told"],
    ["// Nobody reads on.", "Nobody"],
    ["Whoever calls it waits.", "Whoever"],
    ["whatever it costs", "whatever"],
    ["mend them and call again", "mend"],
    ["It is written anew.", "anew"],
    ["besides that", "besides"],
    ["It touches files only.", "It touches"],
    ["`RunSuspended` is none.", "is none"],
    ["its timeout is no duration", "is no"],
    ["those are no messages", "are no"]
  ])("finds a word that has a plainer one: %s", (text, word) => {
    expect(words(text)).toEqual([`1 ${word}`])
  })

  it("finds a word within a name", () => {
    expect(words("const wasTold = toldParts.length")).toEqual(["1 Told", "1 told"])
    expect(words("const WHO_HEARD = 1")).toEqual(["1 HEARD"])
  })

  it("finds words across the end of a line, where the first of them is", () => {
    expect(words(["/**", " * What the tool returns is", " * no text.", " */"].join("\n"))).toEqual(["2 is no"])
    expect(words(["// These are", "// none of ours."].join("\n"))).toEqual(["1 are none"])
  })

  it.each([
    "There is no file, and there are none below.",
    "It is no longer used, and is no one's.",
    "Option.isNone(found)",
    "recommended, amended, commended",
    "It is not a duration.",
    "Where the answer is no, the run fails."
  ])("finds nothing in plain English: %s", (text) => {
    expect(words(text)).toEqual([])
  })

  it("leaves out quoted text of others", () => {
    expect(words("> I was told so.\n\nWe were told so.", true)).toEqual(["3 told"])
  })

  it("says what to write instead", () => {
    expect(find("a\nIt is written anew.", false)).toEqual([{ line: 2, word: "anew", plain: '"again"' }])
  })

  it("finds nothing in this project", () => {
    expect(check()).toEqual([])
  })
})

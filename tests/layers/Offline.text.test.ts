/** Plain text of the offline model: summaries, answers, sums, reviews, merged reports, files. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { quiet, say, withSystem, story } from "../support/offline.ts"

describe("plain text", () => {
  it.effect("summarises with sentences of the text, in order, as many as asked", () =>
    Effect.gen(function* () {
      const text = yield* say(`Summarise in two sentences:\n\n${story}`)
      const picked = story
        .match(/[^.]+(?:\.\d[^.]*)?\./g)!
        .map((sentence) => sentence.trim())
        .filter((sentence) => text.includes(sentence))
      expect(picked.length).toBe(2)
      expect(text).toBe(picked.join(" "))
      expect((yield* say(`Summarize this in at most 20 words:\n${story}`)).split(/\s+/).length).toBeLessThanOrEqual(20)
    }).pipe(Effect.provide(quiet))
  )

  it.effect("answers a question from the text, and says when the text does not", () =>
    Effect.gen(function* () {
      expect(yield* say(`${story}\n\nWhen was the bridge built?`)).toContain("1886")
      expect(yield* say(`How much did the work cost?\n\n${story}`)).toBe("The work cost 3.3 million euros.")
      expect(yield* say(`${story}\n\nWho invented zebras?`)).toContain("does not answer")
      expect(
        yield* say([
          { role: "user", content: story },
          { role: "assistant", content: "Noted." },
          { role: "user", content: "Who complained about noise?" }
        ])
      ).toContain("Local shops")
    }).pipe(Effect.provide(quiet))
  )

  it.effect("does stated arithmetic only where it is plain", () =>
    Effect.gen(function* () {
      expect(yield* say("What is (3 + 4) * 2?")).toBe("(3 + 4) * 2 = 14")
      expect(yield* say("what's 15% of 80")).toBe("15% of 80 = 12")
      expect(yield* say("What is two times 3?")).toContain("= 6")
      expect(yield* say("See pages 10-20 for the details.")).not.toContain("=")
      expect(yield* say("2024-05-03")).not.toContain("=")
    }).pipe(Effect.provide(quiet))
  )

  const document =
    '# Guide\n\nThis guide was written for the the team.\n\n### Setup\n\nSee [docs](). We recieve data.\n\n```js\nconst password = "hunter2hunter2"\neval(input)\ntry { go() } catch (e) {}\n```\n'

  it.effect("lets each reviewer report what it is asked for, with true line numbers", () =>
    Effect.gen(function* () {
      const security = yield* say(withSystem("You are the security reviewer.", document))
      const spelling = yield* say(withSystem("You proofread for spelling.", document))
      const structure = yield* say(withSystem("You check the structure.", document))
      const style = yield* say(withSystem("You review style.", document))
      expect(security).toMatch(/line 10: password/)
      expect(security).toMatch(/line 11: evaluated text/)
      expect(security).not.toContain("hunter2hunter2")
      expect(spelling).toMatch(/line 3: repeated word: "the the"/)
      expect(spelling).toMatch(/line 7: misspelling: "recieve"/)
      expect(structure).toMatch(/line 5: heading level skipped/)
      expect(structure).toMatch(/line 7: empty link/)
      expect(style).toMatch(/line 3: passive voice: "was written"/)
      expect(new Set([security, spelling, structure, style]).size).toBe(4)
      expect(yield* say(withSystem("You review spelling.", "All is well here. Nothing is wrong with it."))).toContain(
        "No problem was found"
      )
    }).pipe(Effect.provide(quiet))
  )

  it.effect("merges reports and says who agreed", () =>
    Effect.gen(function* () {
      const merged = yield* say(
        withSystem(
          "Merge the reviews into one report.",
          JSON.stringify({
            style: "- line 3: repeated word\n- line 9: weak word",
            spelling: "- line 3: repeated word\n- line 17: misspelling"
          })
        )
      )
      expect(merged.match(/line 3/g)?.length).toBe(1)
      expect(merged).toContain("(style, spelling)")
      for (const text of ["line 9", "line 17"]) expect(merged).toContain(text)
    }).pipe(Effect.provide(quiet))
  )

  it.effect("takes no heading of a report for a remark", () =>
    Effect.gen(function* () {
      const reviews = yield* Effect.forEach(["correctness", "clarity"], (name) =>
        Effect.map(say(withSystem(`You review ${name}.`, "All is well here. Nothing is wrong with it.")), (text) => {
          expect(text).toContain("Rule-based review")
          return `## ${name}\n\n${text}`
        })
      )
      const merged = yield* say(`Merge these reviews into one report.\n\n${reviews.join("\n\n")}`)
      expect(merged).toContain("2 remarks")
      expect(merged).not.toContain("Rule-based review")
      expect(merged).not.toContain("Said by several")
    }).pipe(Effect.provide(quiet))
  )

  it.effect("reads text files in every form, and names what it cannot read", () =>
    Effect.gen(function* () {
      const question = { type: "text" as const, text: "When was the bridge built?" }
      const forms: ReadonlyArray<string | Uint8Array | URL> = [
        new TextEncoder().encode(story),
        Buffer.from(story).toString("base64"),
        new URL(`data:text/plain;base64,${Buffer.from(story).toString("base64")}`)
      ]
      for (const data of forms)
        expect(
          yield* say([
            { role: "user", content: [question, { type: "file", mediaType: "text/plain", fileName: "a.txt", data }] }
          ])
        ).toContain("1886")
      const image = yield* say([
        {
          role: "user",
          content: [
            { type: "text", text: "What is in it?" },
            { type: "file", mediaType: "image/png", fileName: "b.png", data: new Uint8Array([137, 80, 0]) }
          ]
        }
      ])
      expect(image).toContain("b.png")
      expect(image).toContain("Not read")
    }).pipe(Effect.provide(quiet))
  )

  it.effect("says in one sentence what it can do when it can do nothing", () =>
    Effect.gen(function* () {
      const text = yield* say("Hello")
      expect(text).toContain("no language model")
      expect(text.match(/[.!?](?:\s|$)/g)?.length).toBe(1)
    }).pipe(Effect.provide(quiet))
  )
})

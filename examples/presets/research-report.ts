/**
 * A research report: the question is split into smaller ones, a researcher looks each of them up at the same time, and a
 * writer puts the findings together. The library here is a text; replace it by a search of yours.
 *
 *     node examples/presets/research-report.ts "How do honey bees find food, and how do they tell each other?"
 */
import { Effect, Schema } from "effect"
import { Agent, AgentTool, Chain, Gather } from "troupe"
import { main } from "./model.ts"

const library = [
  "Honey bees find food with scouts. A scout flies up to ten kilometres from the hive and remembers the way by the sun.",
  "A bee that has found food tells the others with the waggle dance: its angle gives the direction, its length the distance.",
  "Bumble bees live in small colonies of fifty to four hundred and do not dance.",
  "A hive keeps about twenty kilograms of honey for the winter and holds its core at thirty-five degrees.",
  "Beekeepers count varroa mites on a sample of three hundred bees; more than nine call for a treatment."
]

const search = AgentTool.fromFunction("search", {
  description: "Search the library for a question, and find the passages that say something about it",
  parameters: Schema.Struct({ query: Schema.String }),
  hints: { readOnly: true },
  execute: ({ query }) => {
    const words = new Set(query.toLowerCase().match(/\p{L}{4,}/gu) ?? [])
    const scored = library.map((text) => ({
      text,
      score: (text.toLowerCase().match(/\p{L}{4,}/gu) ?? []).filter((word) => words.has(word)).length
    }))
    return scored
      .filter(({ score }) => score > 1)
      .toSorted((a, b) => b.score - a.score)
      .slice(0, 2)
      .map(({ text }) => text)
  }
})

const questions = (question: string) =>
  Effect.succeed(
    question
      .split(/\?|,? and /)
      .map((part) => part.trim())
      .filter((part) => part !== "")
      .map((part) => `${part}?`)
  )

const researcher = Agent.make("researcher", {
  instructions:
    "Search the library for the question, and answer it with what the library says. Say so if it says nothing.",
  tools: [search]
})

const writer = Agent.make("writer", {
  instructions: "You combine findings into one report. Use only what the findings say."
})

const report = Chain.make(
  "report",
  [
    questions,
    Gather.map("research", researcher, { concurrency: 4 }),
    (findings: ReadonlyArray<string>) =>
      Effect.succeed(
        `Combine these findings into one report.\n\n${findings.map((text, n) => `## Finding ${n + 1}\n\n${text}`).join("\n\n")}`
      ),
    writer
  ],
  { description: "Answers a question from the library" }
)
export default report

await main(import.meta.main, report.run, "How do honey bees find food, and how do they keep warm in winter?")

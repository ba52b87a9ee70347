/**
 * A content pipeline: notes become a summary, which is judged and written again until it is good enough, and get a title
 * and keywords. A gate sends notes back that are too short to make anything of.
 *
 *     node examples/presets/content-pipeline.ts "$(cat notes.txt)"
 */
import { Effect, Schema } from "effect"
import { Agent, Chain, EvaluatorOptimizer, Parallel, Runner } from "troupe"
import { main } from "./model.ts"

const writer = Agent.make("writer", {
  instructions: "Summarise the notes in three sentences that a newcomer understands. Use only what the notes say."
})

/** A function judges here, as length needs no model; an agent with a typed verdict fits in the same place. */
const isReadable = (draft: string) => {
  const words = draft.split(/\s+/).length
  return Effect.succeed({ score: words <= 90 ? 10 : 4, reason: `it has ${words} words of 90` })
}

const draft = EvaluatorOptimizer.make(
  "draft",
  { generator: writer, evaluator: isReadable },
  { accept: (verdict) => verdict.score >= 8, maxRounds: 3, onMaxRounds: "best" }
)

const labels = Agent.make("labels", {
  instructions: "Find a title and the keywords of the text.",
  output: Schema.Struct({
    title: Schema.String.annotate({ description: "The title of the text" }),
    keywords: Schema.Array(Schema.String).annotate({ description: "Three to five keywords" })
  })
})

const pipeline = Chain.make(
  "pipeline",
  [
    Chain.gate("enough to say", (notes: string) =>
      notes.split(/\s+/).length < 20 ? Chain.stop("The notes are too short: write at least twenty words.") : notes
    ),
    Parallel.make("parts", { draft, labels }),
    Runner.make("layout", {
      run: ({ draft, labels }: { draft: string; labels: { title: string; keywords: ReadonlyArray<string> } }) =>
        Effect.succeed(`# ${labels.title}\n\n${draft}\n\nKeywords: ${labels.keywords.join(", ")}`)
    })
  ],
  { description: "Makes an article of notes" }
)
export default pipeline

const sample = `Tidal power

Tidal power stations take energy from the rise and fall of the sea. The first large one was opened at La Rance in France in 1966 and still runs. A barrage holds back the water at high tide and lets it out through turbines when the sea has fallen. Tides can be foretold for decades, so the output is known long before, unlike that of wind and sun. The building of a barrage is expensive and changes the mud flats on which birds feed. Newer plants stand on the sea floor and turn with the current, without any barrage.`
await main(import.meta.main, pipeline.run, sample)

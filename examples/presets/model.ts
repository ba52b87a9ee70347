/** The model of the presets: OpenAI or a compatible server where the environment names one, else the offline rules. */
import { Effect, Layer } from "effect"
import { Offline, OpenAi } from "troupe"

const { OPENAI_API_KEY, OPENAI_BASE_URL, TROUPE_MODEL } = process.env

export const Model =
  OPENAI_API_KEY === undefined && OPENAI_BASE_URL === undefined
    ? Offline.layer
    : Layer.orDie(OpenAi.layer({ model: TROUPE_MODEL ?? "gpt-4.1-mini" }))

/** Runs a preset when its file is the program: with what stands on the command line, or with the sample. */
export const main = async <E>(
  isMain: boolean,
  run: (input: string) => Effect.Effect<unknown, E, Layer.Success<typeof Model>>,
  sample: string
): Promise<void> => {
  if (!isMain) return
  const output = await Effect.runPromise(run(process.argv[2] ?? sample).pipe(Effect.provide(Model)))
  console.log(typeof output === "string" ? output : JSON.stringify(output, null, 2))
}

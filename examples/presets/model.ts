/** The model of the presets: OpenAI or a compatible server. They need a language model, so there is none by default. */
import { Effect, Layer } from "effect"
import { OpenAi } from "troupe"

const { OPENAI_API_KEY, OPENAI_BASE_URL, TROUPE_MODEL } = process.env

const Model = Layer.orDie(OpenAi.layer({ model: TROUPE_MODEL ?? "gpt-4.1-mini" }))

const help = `This preset needs a language model. Set OPENAI_API_KEY; or set OPENAI_BASE_URL to a server that needs no key, such as
Ollama's http://localhost:11434/v1, and TROUPE_MODEL to the name of a model there.`

/** Runs a preset when its file is the program: with the text of the command line, or with the sample. */
export const main = async <E>(
  isMain: boolean,
  run: (input: string) => Effect.Effect<unknown, E, Layer.Success<typeof Model>>,
  sample: string
): Promise<void> => {
  if (!isMain) return
  if (!OPENAI_API_KEY && !OPENAI_BASE_URL) {
    console.error(help)
    process.exitCode = 2
    return
  }
  const output = await Effect.runPromise(run(process.argv[2] ?? sample).pipe(Effect.provide(Model)))
  console.log(typeof output === "string" ? output : JSON.stringify(output, null, 2))
}

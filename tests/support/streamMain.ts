/** Reads a model's stream to its end in a process with a small heap, on either edge, and says how much text it was. */
import * as Effect from "effect/Effect"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as OpenAi from "../../src/layers/openai/OpenAi.ts"
import * as SyncEdge from "../../src/layers/sync/SyncEdge.ts"

const [url = "", api, edge] = process.argv.slice(2)
const program = LanguageModel.streamText({ prompt: "go" }).pipe(
  Stream.runFold(
    () => 0,
    (length, part) => (part.type === "text-delta" ? length + part.delta.length : length)
  ),
  Effect.provide(
    OpenAi.layer({ model: "m", baseUrl: url, api: api as "chat", apiKey: Redacted.make("k"), retry: "none" })
  )
)
const length =
  edge === "sync" ? Effect.runSync(Effect.provide(program, SyncEdge.layer)) : await Effect.runPromise(program)
process.stdout.write(String(length))

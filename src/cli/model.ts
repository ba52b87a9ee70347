/** Which model answers: by flag, by environment, or the offline one. Layers are loaded when they are chosen. */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { badInput, type CliFailure } from "./failure.ts"

type Model = Layer.Layer<LanguageModel.LanguageModel, Config.ConfigError>

const defaultModel = "gpt-4.1-mini"

const offline: Effect.Effect<Model> = Effect.map(
  Effect.promise(() => import("../layers/Offline.ts")),
  (Offline) => Offline.layer
)

const openai = (model: string): Effect.Effect<Model> =>
  Effect.map(
    Effect.promise(() => import("../layers/openai/OpenAi.ts")),
    (OpenAi) => OpenAi.layer({ model })
  )

/** The Layer for `--model`: `offline`, `openai:NAME`, or by environment when there is no flag. */
export const choose = (flag: Option.Option<string>): Effect.Effect<Model, CliFailure> =>
  Effect.gen(function* () {
    if (Option.isSome(flag)) return yield* named(flag.value)
    const set = (name: string) => Effect.map(Config.option(Config.String(name)), Option.isSome)
    const configured = (yield* set("OPENAI_API_KEY")) || (yield* set("OPENAI_BASE_URL"))
    if (!configured) return yield* offline
    const name = yield* Config.String("TROUPE_MODEL").pipe(Config.withDefault(defaultModel))
    return yield* name === "offline" || name.startsWith("openai:") ? named(name) : openai(name)
  }).pipe(Effect.catchTag("ConfigError", (error) => Effect.fail(badInput(error.message))))

const named = (name: string): Effect.Effect<Model, CliFailure> => {
  if (name === "offline") return offline
  const [provider, ...rest] = name.split(":")
  const model = rest.join(":")
  if (provider === "openai" && model !== "") return openai(model)
  return Effect.fail(badInput(`unknown model "${name}". Use openai:NAME (such as openai:${defaultModel}) or offline.`))
}

/** Which model answers: by flag or by environment, and never by default. Layers are loaded when they are chosen. */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { ModelUnavailable } from "../RunError.ts"
import { badInput, type CliFailure, noModel, threeWays } from "./failure.ts"
import { err } from "./terminal.ts"

/** A model's Layer. */
export type Model = Layer.Layer<LanguageModel.LanguageModel, Config.ConfigError | ModelUnavailable>

const defaultModel = "gpt-4.1-mini"

const openai = (model: string): Effect.Effect<Model, CliFailure | Config.ConfigError> =>
  Effect.gen(function* () {
    if (!(yield* isConfigured)) return yield* badInput(`OPENAI_API_KEY is not set. ${threeWays}`)
    const OpenAi = yield* Effect.promise(() => import("../layers/openai/OpenAi.ts"))
    return OpenAi.layer({ model })
  })

/** A variable of the environment; one that is empty is not set. */
const variable = (name: string): Effect.Effect<string | undefined, Config.ConfigError> =>
  Effect.map(Config.option(Config.String(name)), (value) =>
    Option.getOrUndefined(Option.filter(value, (text) => text.trim() !== ""))
  )

const isConfigured = Effect.gen(function* () {
  return (yield* variable("OPENAI_API_KEY")) !== undefined || (yield* variable("OPENAI_BASE_URL")) !== undefined
})

/** The Layer for `--model`, or by the environment when there is no flag; none when neither names a model. */
export const find = (flag: Option.Option<string>): Effect.Effect<Option.Option<Model>, CliFailure> =>
  Effect.gen(function* () {
    if (Option.isSome(flag)) return Option.some(yield* named(flag.value))
    const name = yield* variable("TROUPE_MODEL")
    if (name !== undefined && hasProvider(name)) return Option.some(yield* named(name))
    if (!(yield* isConfigured)) return Option.none()
    return Option.some(yield* openai(name ?? defaultModel))
  }).pipe(Effect.catchTag("ConfigError", (error) => Effect.fail(badInput(error.message))))

/** As {@link find}; fails with the three ways out when there is no model. */
export const choose = (flag: Option.Option<string>): Effect.Effect<Model, CliFailure> =>
  Effect.flatMap(find(flag), (model) => (Option.isSome(model) ? Effect.succeed(model.value) : badInput(noModel)))

/** True for a name with a provider, as `Models.layer` takes it; other ones are of OpenAI's models. */
const hasProvider = (name: string): boolean => name === "demo" || /^[a-z]+:/.test(name)

/** A model that cannot be had is found out before anything is run. */
const named = (name: string): Effect.Effect<Model, CliFailure | Config.ConfigError> => {
  if (name.startsWith("openai:") && name !== "openai:") return openai(name.slice("openai:".length))
  return Effect.gen(function* () {
    const Models = yield* Effect.promise(() => import("../layers/models/Models.ts"))
    return yield* Effect.mapError(Models.find(name), (error) =>
      error._tag === "ModelUnavailable" ? badInput(error.message) : error
    )
  })
}

/** As {@link find}; without a model, {@link absent}. */
export const findOrAbsent = (flag: Option.Option<string>): Effect.Effect<Model, CliFailure> =>
  Effect.map(
    find(flag),
    Option.getOrElse(() => absent)
  )

/** The same for a server, which says so when it begins. */
export const findForServer = (flag: Option.Option<string>): Effect.Effect<Model, CliFailure> =>
  Effect.tap(findOrAbsent(flag), (model) =>
    model === absent ? err(`troupe: runs that need a model will fail: ${noModel}\n`) : Effect.void
  )

/** Fails each call with the three ways out. For runners of a file, which may need no model or bring their own. */
export const absent: Model = Layer.effect(
  LanguageModel.LanguageModel,
  Effect.suspend(() => {
    const reason = new AiError.InvalidRequestError({ parameter: "model", description: noModel })
    const error = (method: string) => AiError.make({ module: "NoModel", method, reason })
    return LanguageModel.make({
      generateText: () => Effect.fail(error("generateText")),
      streamText: () => Stream.fail(error("streamText"))
    })
  })
)

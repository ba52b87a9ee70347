/**
 * Models by their names, such as `anthropic:claude-sonnet-4-5` or `ollama:qwen3`, and what they are known to do. Packages are
 * loaded when a model of theirs is asked for.
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as LanguageModel from "effect/ai/LanguageModel"
import * as Layer from "effect/Layer"
import * as Data from "../../data/models.ts"
import { type Catalog, CurrentCatalog } from "../../services/ModelInfo.ts"
import { ModelUnavailable } from "../../RunError.ts"
import { within } from "./internal/capable.ts"
import * as Names from "./internal/names.ts"

export type { Capabilities, Catalog } from "../../data/models.ts"
export { CurrentCatalog } from "../../services/ModelInfo.ts"

/** The day that the data of the catalog are of, as `2026-11-20`. */
export const date: string = Data.date

/**
 * Adds models to the catalog, or replaces what it says of some, for Layers that are built below it. A name that ends with `*` is
 * for every model whose name begins so, and replaces what the catalog says of these.
 *
 * @example
 * import { Effect, Layer } from "effect"
 * import { Agent, Models } from "troupe"
 *
 * const Model = Models.layer("compatible:my-model@http://localhost:8080/v1").pipe(
 *   Layer.provide(Models.withCatalog({ "compatible:my-model": { tools: false, contextTokens: 32_768 } }))
 * )
 * const program = Agent.make("agent", {}).run("Hello").pipe(Effect.provide(Model))
 */
export const withCatalog = (entries: Catalog): Layer.Layer<never> =>
  Layer.effectContext(
    Effect.map(
      CurrentCatalog,
      (catalog) => Context.make(CurrentCatalog, { ...without(catalog, entries), ...entries }) as Context.Context<never>
    )
  )

/** What a catalog says of models that no `*` of the entries stands for. */
const without = (catalog: Catalog, entries: Catalog): Catalog => {
  const beginnings = Object.keys(entries).flatMap((name) => (name.endsWith("*") ? [name.slice(0, -1)] : []))
  return Object.fromEntries(
    Object.entries(catalog).filter(([name]) => !beginnings.some((beginning) => name.startsWith(beginning)))
  )
}

/** A name as the catalog has it: without the address of a server. */
const catalogName = (name: string): string => {
  const { model, provider } = Names.parse(name)
  return provider === "compatible" ? `${provider}:${model.replace(/@https?:\/\/.*$/s, "")}` : name
}

/**
 * What a model is known to do; `undefined` for one that is not in the catalog.
 *
 * @example
 * import { Effect } from "effect"
 * import { Models } from "troupe"
 *
 * const window = Effect.map(Models.capabilities("openai:gpt-4.1-mini"), (known) => known?.contextTokens)
 */
export const capabilities = (name: string): Effect.Effect<Data.Capabilities | undefined> =>
  Effect.map(CurrentCatalog, (catalog) => Data.lookUp(catalog, catalogName(name)))

/**
 * A model by its name:
 *
 * - `openai:NAME`: OpenAI, with `OPENAI_API_KEY`
 * - `anthropic:NAME`, `google:NAME`, `bedrock:NAME`, `azure:NAME`, `vertex:NAME`, `mistral:NAME`, `groq:NAME`, `xai:NAME`,
 *   `deepseek:NAME`, `cohere:NAME`, `perplexity:NAME`, `cerebras:NAME`: by the AI SDK's package of that provider, with the
 *   variables that the package documents, such as `ANTHROPIC_API_KEY`
 * - `ollama:NAME`: Ollama on this machine, or at `OLLAMA_HOST`
 * - `compatible:NAME@URL`: any server that speaks OpenAI's language, with `COMPATIBLE_API_KEY` if that is set
 * - `llamacpp:FILE`: a GGUF file, in the program itself
 * - `demo`: the demo model
 *
 * Keys come from Config. A request for what the catalog says that the model lacks (tools, images, reasoning) fails with
 * `InvalidRequestError` before it is sent; a model that is not in the catalog is asked for anything. Building the Layer fails
 * with `ModelUnavailable` for a name that is not one of these, for a package that is not installed (`install` is the line to
 * type), and for a key that is not set.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, Models } from "troupe"
 *
 * const agent = Agent.make("agent", { instructions: "Be brief." })
 * const program = agent.run("Hello").pipe(Effect.provide(Models.layer("anthropic:claude-sonnet-4-5")))
 */
export const layer = (name: string): Layer.Layer<LanguageModel.LanguageModel, ModelUnavailable | Config.ConfigError> =>
  Layer.unwrap(find(name))

/** @internal The Layer of a name, whose package is loaded, and whose key is there. */
export const find = (
  name: string
): Effect.Effect<
  Layer.Layer<LanguageModel.LanguageModel, ModelUnavailable | Config.ConfigError>,
  ModelUnavailable | Config.ConfigError
> =>
  Effect.gen(function* () {
    const model = yield* Names.find(name)
    const known = yield* capabilities(name)
    return known === undefined ? model : within(model, name, known)
  })

const notSet = `no model is chosen: set TROUPE_MODEL to one of ${Names.forms.join(", ")}`

/**
 * The model that the variable `TROUPE_MODEL` names, as {@link layer} takes it. Fails with `ModelUnavailable` where it is not set.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, Models } from "troupe"
 *
 * const program = Agent.make("agent", {}).run("Hello").pipe(Effect.provide(Models.layerConfig))
 */
export const layerConfig: Layer.Layer<LanguageModel.LanguageModel, ModelUnavailable | Config.ConfigError> =
  Layer.unwrap(
    Effect.flatMap(Config.withDefault(Config.String("TROUPE_MODEL"), ""), (name) =>
      name.trim() === ""
        ? Effect.fail(new ModelUnavailable({ model: "", problem: notSet }))
        : Effect.succeed(layer(name.trim()))
    )
  )

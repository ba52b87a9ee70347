/** Names of models, `provider:model`, and where each provider's models come from. */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import { messageOf } from "../../../internal/message.ts"
import { ModelUnavailable } from "../../../RunError.ts"
import { isSync } from "../../../services/SyncBridge.ts"
import * as AiSdk from "../../aisdk/AiSdk.ts"
import * as DemoModel from "../../demo/DemoModel.ts"
import * as LlamaCpp from "../../llamacpp/LlamaCpp.ts"
import * as OpenAi from "../../openai/OpenAi.ts"

/** A model's Layer. */
export type Model = Layer.Layer<LanguageModel.LanguageModel, ModelUnavailable | Config.ConfigError>

/** A package of the AI SDK, how its provider is made, and the variables that it is configured by. */
interface Package {
  readonly name: string
  readonly load: () => Promise<unknown>
  readonly make: string
  /** Variables that can hold the key; the first one that is set counts. Without any, the package finds its own way to sign in. */
  readonly keys: ReadonlyArray<string>
  readonly baseUrls?: ReadonlyArray<string> | undefined
}

/** Not written as a literal, which compilers and bundlers would look for. */
const imported = (name: string) => () =>
  import(/* webpackIgnore: true */ /* turbopackIgnore: true */ /* @vite-ignore */ name) as Promise<unknown>

const sdk = (name: string, make: string, ...keys: ReadonlyArray<string>): Package => ({
  name: `@ai-sdk/${name}`,
  load: imported(`@ai-sdk/${name}`),
  make,
  keys
})

const packages: Readonly<Record<string, Package>> = {
  anthropic: {
    ...sdk("anthropic", "createAnthropic", "ANTHROPIC_API_KEY"),
    baseUrls: ["ANTHROPIC_BASE_URL"]
  },
  google: {
    ...sdk("google", "createGoogle", "GOOGLE_GENERATIVE_AI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"),
    baseUrls: ["GOOGLE_GENERATIVE_AI_BASE_URL"]
  },
  bedrock: sdk("amazon-bedrock", "createAmazonBedrock"),
  vertex: sdk("google-vertex", "createVertex"),
  azure: sdk("azure", "createAzure", "AZURE_API_KEY"),
  mistral: sdk("mistral", "createMistral", "MISTRAL_API_KEY"),
  groq: sdk("groq", "createGroq", "GROQ_API_KEY"),
  xai: sdk("xai", "createXai", "XAI_API_KEY"),
  deepseek: sdk("deepseek", "createDeepSeek", "DEEPSEEK_API_KEY"),
  cohere: sdk("cohere", "createCohere", "COHERE_API_KEY"),
  perplexity: sdk("perplexity", "createPerplexity", "PERPLEXITY_API_KEY"),
  cerebras: sdk("cerebras", "createCerebras", "CEREBRAS_API_KEY")
}

/** The forms of names, for errors. */
export const forms = [
  "openai:NAME",
  ...Object.keys(packages).map((provider) => `${provider}:NAME`),
  "ollama:NAME",
  "compatible:NAME@URL",
  "llamacpp:FILE",
  "demo"
]

const unavailable = (model: string, problem: string, install?: string) =>
  Effect.fail(new ModelUnavailable({ model, problem, ...(install === undefined ? {} : { install }) }))

/** A name that is taken apart. */
export interface Name {
  readonly provider: string
  readonly model: string
}

/** The provider and the model of a name; `demo` has no model. */
export const parse = (name: string): Name => {
  const at = name.indexOf(":")
  return at < 0 ? { provider: name, model: "" } : { provider: name.slice(0, at), model: name.slice(at + 1) }
}

/** The Layer of a model by its name. */
export const find = (name: string): Effect.Effect<Model, ModelUnavailable | Config.ConfigError> =>
  Effect.suspend(() => {
    if (name === "demo") return Effect.succeed(DemoModel.layer)
    const { model, provider } = parse(name)
    if (model.trim() === "") return incomplete(name)
    switch (provider) {
      case "openai":
        return Effect.succeed(OpenAi.layer({ model }))
      case "ollama":
        return ollama(model)
      case "compatible":
        return compatible(name, model)
      case "llamacpp":
        return Effect.succeed(LlamaCpp.layer({ modelPath: model }))
    }
    const found = Object.hasOwn(packages, provider) ? packages[provider] : undefined
    return found === undefined ? unknown(name) : ofPackage(name, model, found)
  })

const unknown = (name: string) => unavailable(name, `it is not one of ${forms.join(", ")}`)

/** A provider without a model, or a model without its provider. */
const incomplete = (name: string) => {
  const isProvider = forms.some((form) => form.startsWith(`${parse(name).provider}:`))
  return isProvider || !/^[\w.-]+$/.test(name)
    ? unknown(name)
    : unavailable(
        name,
        `its provider is not named: write openai:${name} for a model of OpenAI, otherwise one of ${forms.join(", ")}`
      )
}

/** The first of the variables that is set and not empty. */
const variable = (names: ReadonlyArray<string>): Effect.Effect<string | undefined, Config.ConfigError> =>
  Effect.gen(function* () {
    for (const name of names) {
      const value = yield* Config.String(name).pipe(Config.withDefault(""))
      if (value.trim() !== "") return value.trim()
    }
    return undefined
  })

/** A server of this kind is not OpenAI's, and must not be sent OpenAI's key. */
const keyOf = (value: string | undefined): Redacted.Redacted => Redacted.make(value ?? "")

const ollama = (model: string): Effect.Effect<Model, Config.ConfigError> =>
  Effect.gen(function* () {
    const host = (yield* variable(["OLLAMA_BASE_URL", "OLLAMA_HOST"])) ?? "http://localhost:11434"
    const url = (/^https?:\/\//.test(host) ? host : `http://${host}`).replace(/\/+$/, "")
    const key = yield* variable(["OLLAMA_API_KEY"])
    return OpenAi.layer({
      model,
      baseUrl: url.endsWith("/v1") ? url : `${url}/v1`,
      apiKey: keyOf(key),
      provider: "ollama",
      api: "chat"
    })
  })

const compatible = (name: string, rest: string): Effect.Effect<Model, ModelUnavailable | Config.ConfigError> =>
  Effect.gen(function* () {
    // A model's own name may hold an @.
    const match = /^(.+?)@(https?:\/\/.+)$/s.exec(rest)
    if (match === null || !URL.canParse(match[2]!)) {
      return yield* unavailable(
        name,
        "it has no address: write compatible:NAME@URL, such as compatible:qwen3@http://localhost:8080/v1"
      )
    }
    const key = yield* variable(["COMPATIBLE_API_KEY"])
    return OpenAi.layer({ model: match[1]!, baseUrl: match[2]!, apiKey: keyOf(key), provider: "compatible" })
  })

const ofPackage = (
  name: string,
  model: string,
  from: Package
): Effect.Effect<Model, ModelUnavailable | Config.ConfigError> =>
  Effect.gen(function* () {
    if (yield* isSync) {
      return yield* unavailable(
        name,
        `the package ${from.name} gives promises, which Effect.runSync cannot wait for: run the program with Effect.runPromise, or use openai:, ollama:, compatible: or llamacpp:`
      )
    }
    const apiKey = yield* variable(from.keys)
    if (apiKey === undefined && from.keys.length > 0) {
      return yield* unavailable(name, `its key is not set: set ${from.keys[0]}`)
    }
    const baseURL = yield* variable(from.baseUrls ?? [])
    const loaded = yield* Effect.tryPromise({
      try: from.load,
      catch: (error) =>
        isMissing(error)
          ? new ModelUnavailable({
              model: name,
              problem: `the package ${from.name} is not installed`,
              install: `npm install ${from.name}`
            })
          : new ModelUnavailable({
              model: name,
              problem: `the package ${from.name} cannot be loaded: ${messageOf(error)}`
            })
    })
    return yield* Effect.try({
      try: () => {
        const make: unknown = Predicate.hasProperty(loaded, from.make) ? loaded[from.make] : undefined
        if (typeof make !== "function") throw new Error(`it has no ${from.make}`)
        const settings = { ...(apiKey === undefined ? {} : { apiKey }), ...(baseURL === undefined ? {} : { baseURL }) }
        const made: unknown = make(settings)
        if (typeof made !== "function") throw new Error(`${from.make} gives no models`)
        // What is not a model of this interface is refused by AiSdk.layer.
        return AiSdk.layer(made(model) as AiSdk.Model)
      },
      catch: (error) =>
        new ModelUnavailable({
          model: name,
          problem: `the package ${from.name} is of another version than this module knows: ${messageOf(error)}`,
          install: `npm install ${from.name}@latest`
        })
    })
  })

const isMissing = (error: unknown): boolean =>
  Predicate.hasProperty(error, "code") && (error.code === "ERR_MODULE_NOT_FOUND" || error.code === "MODULE_NOT_FOUND")

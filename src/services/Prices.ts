/**
 * Prices of models, for budgets of cost: a table that is part of the package, those that a program adds, and the data of
 * `@pydantic/genai-prices` where a program asks for it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Response from "effect/ai/Response"
import * as Schema from "effect/Schema"
import * as Models from "../data/models.ts"
import type { Price } from "../data/models.ts"
import * as Shipped from "../data/prices.generated.ts"
import { assertOptions, invalid, inWords, namesOf as optionsOf } from "../internal/definition.ts"
import { absent } from "../internal/optional.ts"

export type { Price } from "../data/models.ts"

/** The day that the package's own table is of, as `2026-11-29`. */
export const date: string = Shipped.date

/**
 * Prices by `provider:model`, or by `model` for any provider. A `*` at the end stands for any end, so that `ollama:*` is
 * every model of that provider.
 */
export type Table = Readonly<Record<string, Price>>

/** A model call that has a price. */
export interface Call {
  /** As in `ModelInfo`; `undefined` for a foreign model. */
  readonly provider: string | undefined
  readonly model: string | undefined
  readonly usage: Pick<Response.Usage, "inputTokens" | "outputTokens">
}

/** Knows what model calls cost. */
export interface Prices {
  /** US dollars; `undefined` for a model whose price is not known. */
  readonly cost: (call: Call) => number | undefined
}

/** The prices could not be loaded. */
export class PricesUnavailable extends Schema.TaggedError<PricesUnavailable>()("PricesUnavailable", {
  /** The package that has them. */
  package: Schema.String,
  /** Why it could not be loaded. */
  cause: Schema.Defect()
}) {
  override get message(): string {
    return `the prices of ${this.package} could not be loaded. Install it: npm install ${this.package}`
  }
}

const known = optionsOf<Price>({ input: true, output: true, cacheRead: true, cacheWrite: true, above: true })
const knownAbove = optionsOf<NonNullable<Price["above"]>[number]>({
  input: true,
  output: true,
  cacheRead: true,
  cacheWrite: true,
  above: true,
  inputTokens: true
})

/** Throws for a price that costs could not be counted by: a budget of cost would limit nothing. */
const assertPrice = (subject: string, price: Price, names: ReadonlySet<string> = known): void => {
  assertOptions(subject, price, names)
  const { above = [], ...prices } = price
  for (const [name, value] of Object.entries({ ...prices, input: price.input, output: price.output })) {
    if ((value === undefined && name !== "input" && name !== "output") || (Number.isFinite(value) && value! >= 0))
      continue
    const remedy = "Give it in US dollars for a million tokens, 0 or more"
    throw invalid(subject, `${name} is ${inWords(value)}`, remedy)
  }
  for (const part of above) assertPrice(subject, part, knownAbove)
}

/** Prices, ready to be looked up. */
interface Index {
  readonly exact: ReadonlyMap<string, Price>
  readonly beginnings: ReadonlyArray<readonly [beginning: string, price: Price]>
}

const indexOf = (entries: Iterable<readonly [name: string, price: Price]>): Index => {
  const exact = new Map<string, Price>()
  const beginnings: Array<readonly [string, Price]> = []
  for (const [name, price] of entries) {
    if (name.endsWith("*")) beginnings.push([name.slice(0, -1), price])
    else exact.set(name, price)
  }
  // The longest one says the most.
  return { exact, beginnings: beginnings.toSorted(([a], [b]) => b.length - a.length) }
}

const find = ({ beginnings, exact }: Index, name: string): Price | undefined =>
  exact.get(name) ?? beginnings.find(([beginning]) => name.startsWith(beginning))?.[1]

/** Names of providers as OpenTelemetry and the AI SDK have them, by ours. */
const providers: ReadonlyArray<readonly [pattern: RegExp, name: string]> = [
  [/azure/, "azure"],
  [/bedrock/, "bedrock"],
  [/^(google|gemini|vertex|gcp)/, "google"],
  [/^mistral/, "mistral"],
  [/^x[._-]?ai/, "xai"],
  [/^moonshot/, "moonshot"],
  [/^(openai|anthropic|deepseek|groq|cohere|cerebras)\b/, ""]
]

const providerOf = (name: string): string => {
  const known = providers.find(([pattern]) => pattern.test(name))
  return known === undefined ? name : known[1] === "" ? name.split(/[._-]/)[0]! : known[1]
}

/** The name of a model, and without the date of its version. */
const namesOf = (model: string): ReadonlyArray<string> => {
  const name = model.replace(/^models\//, "")
  const undated = name.replace(/[-@](\d{8}|\d{4}-\d{2}-\d{2})$/, "")
  return undated === name ? [name] : [name, undated]
}

const priceIn = (index: Index, { model, provider }: Call): Price | undefined => {
  if (model === undefined) return undefined
  const names = namesOf(model.toLowerCase())
  const given = provider?.toLowerCase()
  const keys = given === undefined ? [] : [...new Set([given, providerOf(given)])]
  for (const name of names) {
    for (const key of [...keys.map((one) => `${one}:${name}`), name]) {
      const price = find(index, key)
      if (price !== undefined) return price
    }
  }
  return undefined
}

const million = 1_000_000

/** US dollars for the usage of one request. */
const costOf = (price: Price, { inputTokens, outputTokens }: Call["usage"]): number => {
  const total = inputTokens.total ?? 0
  const { cacheRead, cacheWrite, input, output } = price.above?.findLast((one) => total > one.inputTokens) ?? price
  const read = inputTokens.cacheRead ?? 0
  const written = inputTokens.cacheWrite ?? 0
  const other = Math.max(0, total - read - written)
  const inputs = other * input + read * (cacheRead ?? input) + written * (cacheWrite ?? input)
  return (inputs + (outputTokens.total ?? 0) * output) / million
}

const ofTable = (index: () => Index): Prices => ({
  cost: (call) => {
    const price = priceIn(index(), call)
    return price === undefined ? undefined : costOf(price, call.usage)
  }
})

let shipped: Index | undefined

const free: Price = { input: 0, output: 0 }

/** Models that cost nothing: those that run on this machine, the demo model, and runners, whose own calls are counted. */
const local: Table = { "ollama:*": free, "llamacpp:*": free, "troupe-demo:*": free, "troupe:*": free }

/** The package's tables, read when they are first needed: that of prices, and the catalog of models for those that it lacks. */
const shippedIndex = (): Index => {
  if (shipped !== undefined) return shipped
  const entries: Array<readonly [string, Price]> = Object.entries(local)
  for (const [name, { price }] of Object.entries(Models.catalog())) {
    if (price !== undefined) entries.push([name.toLowerCase(), price])
  }
  for (const [provider, line] of Models.linesOf(Shipped.table)) {
    const [names, ...numbers] = line.split(" ")
    const price = Models.readPrice(numbers)
    for (const name of names!.split("|")) entries.push([`${provider}:${name.toLowerCase()}`, price])
  }
  return (shipped = indexOf(entries))
}

/** The prices that the package has, of {@link date}. */
export const shippedPrices: Prices = ofTable(shippedIndex)

/** The prices that budgets use. Default: {@link shippedPrices}. */
export const CurrentPrices: Context.Reference<Prices> = Context.Reference<Prices>("troupe/Prices", {
  defaultValue: () => shippedPrices
})

const either = (first: Prices, second: Prices): Prices => ({ cost: (call) => first.cost(call) ?? second.cost(call) })

/**
 * Prices of a program's own models, in front of those that are known: of a provider that the package does not list, of a
 * contract, of a server of your own. Prices are US dollars for a million tokens.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, OpenAi, Prices, Runner } from "troupe"
 *
 * const clerk = Runner.withBudget(Agent.make("clerk", {}), { cost: 0.25 })
 * const program = clerk.run("Hello").pipe(
 *   Effect.provide(OpenAi.layer({ model: "our-model" })),
 *   Effect.provide(Prices.layer({ "openai:our-model": { input: 0.5, output: 1.5 } }))
 * )
 */
export const layer = (table: Table): Layer.Layer<never> => {
  for (const [name, price] of Object.entries(table)) assertPrice(`the price of "${name}"`, price)
  const own = indexOf(Object.entries(table).map(([name, price]) => [name.toLowerCase(), price] as const))
  return Layer.effect(
    CurrentPrices,
    Effect.map(CurrentPrices, (around) =>
      either(
        ofTable(() => own),
        around
      )
    )
  )
}

/**
 * The prices of `@pydantic/genai-prices`, an optional peer dependency, in front of those that are known: it lists more
 * providers, and newer prices where it is updated. Fails with `PricesUnavailable` where it is not installed.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, Prices, Runner } from "troupe"
 *
 * const clerk = Runner.withBudget(Agent.make("clerk", {}), { cost: 0.25 })
 * const program = clerk.run("Hello").pipe(Effect.provide(Prices.layerGenaiPrices))
 */
export const layerGenaiPrices: Layer.Layer<never, PricesUnavailable> = Layer.effect(
  CurrentPrices,
  Effect.gen(function* () {
    const around = yield* CurrentPrices
    const { calcPrice } = yield* Effect.tryPromise({
      try: async () => {
        try {
          return await import("@pydantic/genai-prices")
        } catch (error) {
          return absent(error)
        }
      },
      catch: (cause) => new PricesUnavailable({ package: "@pydantic/genai-prices", cause })
    })
    const given: Prices = {
      cost: ({ model, provider, usage: { inputTokens, outputTokens } }) => {
        if (model === undefined) return undefined
        const usage = {
          input_tokens: inputTokens.total ?? 0,
          output_tokens: outputTokens.total ?? 0,
          cache_read_tokens: inputTokens.cacheRead ?? 0,
          cache_write_tokens: inputTokens.cacheWrite ?? 0
        }
        const known = provider === undefined ? undefined : providerOf(provider.toLowerCase())
        const providerId = known === undefined ? undefined : (ids[known] ?? known)
        return calcPrice(usage, model, providerId === undefined ? {} : { providerId })?.total_price
      }
    }
    return either(given, around)
  })
)

/** The names that the package has for providers, where they are not ours. */
const ids: Readonly<Record<string, string>> = { xai: "x-ai", moonshot: "moonshotai", bedrock: "aws" }

/**
 * What a model call costs in US dollars, by the prices in the context; `undefined` for a model whose price is not known.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, Prices } from "troupe"
 *
 * const priced = Effect.gen(function* () {
 *   const { usage } = yield* Agent.make("clerk", {}).result("Hello")
 *   return yield* Prices.cost({ provider: "openai", model: "gpt-4.1-mini", usage })
 * })
 */
export const cost = (call: Call): Effect.Effect<number | undefined> =>
  Effect.map(CurrentPrices, (prices) => prices.cost(call))

/**
 * The table of prices that the package has: those of `@pydantic/genai-prices` (MIT) for the providers that programs use
 * most, for the day that it is dated. `npm run codegen` writes it.
 */
import { findProvider, type ModelInfo, type ModelPrice } from "@pydantic/genai-prices"

/** The day that the prices are of. Set it when the package is updated. */
const date = "2026-11-29"

/** Providers by our names, and by those of the package. */
const providers = {
  openai: "openai",
  anthropic: "anthropic",
  google: "google",
  mistral: "mistral",
  deepseek: "deepseek",
  groq: "groq",
  xai: "x-ai",
  cohere: "cohere",
  cerebras: "cerebras",
  moonshot: "moonshotai"
}

/** The prices on the day of the table; of those that depend on the hour, the dearest. */
const priceOf = ({ prices }: ModelInfo): ModelPrice | undefined => {
  if (!Array.isArray(prices)) return prices
  const dated = prices.filter(
    ({ constraint }) => constraint === undefined || !("start_date" in constraint) || constraint.start_date <= date
  )
  const hourly = dated.filter(({ constraint }) => constraint?.type === "time_of_date")
  if (hourly.length === 0) return dated.at(-1)?.prices
  return dated.map(({ prices }) => prices).toSorted((a, b) => numberOf(b["input_mtok"]) - numberOf(a["input_mtok"]))[0]
}

type Given = ModelPrice[string]

const numberOf = (price: Given): number => (typeof price === "object" ? price.base : (price ?? 0))

/** The names that a model is matched by: whole ones, and beginnings with a `*`. */
const namesOf = ({ id, match }: ModelInfo): ReadonlyArray<string> => {
  const names = new Set([id])
  const collect = (one: ModelInfo["match"]): void => {
    if ("or" in one) one.or.forEach(collect)
    if ("equals" in one) names.add(one.equals)
    if ("starts_with" in one) names.add(`${one.starts_with}*`)
  }
  collect(match)
  return [...names].filter((name) => !/[\s|]/.test(name))
}

const fields = ["input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok"] as const

/** One line of the table: names, prices, and the prices above a number of tokens. */
const lineOf = (model: ModelInfo): string | undefined => {
  const price = priceOf(model)
  if (price?.["input_mtok"] === undefined || price["output_mtok"] === undefined) return undefined
  const given = fields.map((field) => price[field])
  const written = given.map((one) => (one === undefined ? "-" : String(numberOf(one))))
  const starts = new Set(given.flatMap((one) => (typeof one === "object" ? one.tiers.map(({ start }) => start) : [])))
  const above = [...starts]
    .toSorted((a, b) => a - b)
    .map((start) => {
      const tier = (one: Given) =>
        typeof one === "object" ? (one.tiers.findLast((tier) => tier.start <= start)?.price ?? one.base) : one
      return [`>${start}`, ...given.map((one) => tier(one) ?? "-")].join(" ")
    })
  return [namesOf(model).join("|"), ...written, ...above].join(" ")
}

/** The module that holds the table. */
export const pricesModule = (): string => {
  const blocks = Object.entries(providers).map(([ours, theirs]) => {
    const lines = findProvider({ providerId: theirs })!.models.flatMap((model) => lineOf(model) ?? [])
    return `@${ours}\n${lines.join("\n")}`
  })
  return `/**
 * Prices of models, made by \`npm run codegen\` of the data of @pydantic/genai-prices, Copyright (c) Pydantic Services Inc.,
 * under the MIT license. Do not edit it.
 */
/** The day that the prices are of. */
export const date = "${date}"
/**
 * One model a line, below its provider: its names, and US dollars for a million tokens of input, output, input read from the
 * cache and input written to it; then the same for requests with more tokens than a number.
 */
export const table: string = ${JSON.stringify(blocks.join("\n"))}
`
}

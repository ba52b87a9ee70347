/**
 * What language models can do: the data of {@link Shipped}, which `npm run catalog` writes, and what these lack. That is models
 * that call no tools, older ones, and those of Ollama, as their makers' documentation says. A field that is not set is not known.
 */
import * as Shipped from "./models.generated.ts"

/** The day that the data are of. */
export const date: string = Shipped.date

/** What a model costs, in US dollars for a million tokens. */
export interface Price {
  readonly input: number
  readonly output: number
  /** For input that the provider read from its cache. Default: as `input`. */
  readonly cacheRead?: number | undefined
  /** For input that the provider wrote to its cache. Default: as `input`. */
  readonly cacheWrite?: number | undefined
  /** Prices of requests with more than a number of input tokens, smallest number first. */
  readonly above?: ReadonlyArray<Price & { readonly inputTokens: number }> | undefined
}

/** What is known of a model. */
export interface Capabilities {
  /** Whether it calls tools. */
  readonly tools?: boolean | undefined
  /** Whether it reads images. */
  readonly images?: boolean | undefined
  /** Whether it can be asked to think before it answers. */
  readonly reasoning?: boolean | undefined
  /** Whether the provider can hold its answer to a schema. Without it the schema is in the instructions. */
  readonly structuredOutput?: boolean | undefined
  /** Whether the provider can search tools for it that it has not been shown. */
  readonly toolSearch?: boolean | undefined
  /** The tokens of a request and its answer together. */
  readonly contextTokens?: number | undefined
  /** The most tokens of an answer. */
  readonly outputTokens?: number | undefined
  /** What it costs, to choose by. Budgets go by the service `Prices`, which knows the prices of the package's own catalog. */
  readonly price?: Price | undefined
}

/** What models are known to do, by `provider:model`; a `*` at the end stands for any end, and the longest name that fits counts. */
export type Catalog = Readonly<Record<string, Capabilities>>

/** What a catalog says of `provider:model`, or of it without the date of its version; `undefined` for what it does not have. */
export const lookUp = (catalog: Catalog, name: string): Capabilities | undefined => {
  for (const one of [name, name.replace(/[-@](\d{8}|\d{4}-\d\d-\d\d)$/, "")]) {
    if (Object.hasOwn(catalog, one)) return catalog[one]
  }
  const fitting = Object.keys(catalog).filter((one) => one.endsWith("*") && name.startsWith(one.slice(0, -1)))
  const longest = fitting.toSorted((a, b) => b.length - a.length)[0]
  return longest === undefined ? undefined : catalog[longest]
}

const seeing = { tools: true, images: true, structuredOutput: true }
const thinking = { ...seeing, reasoning: true }
const plain = { ...seeing, reasoning: false }
const toolless = { tools: false, images: false, structuredOutput: false }

/** What the data lack. */
const others: Catalog = {
  "openai:gpt-3.5-turbo*": {
    tools: true,
    images: false,
    reasoning: false,
    structuredOutput: false,
    contextTokens: 16_385,
    outputTokens: 4096
  },
  "openai:gpt-4-turbo*": { ...plain, structuredOutput: false, contextTokens: 128_000, outputTokens: 4096 },
  "openai:chatgpt-4o-latest": { ...plain, tools: false, contextTokens: 128_000, outputTokens: 16_384 },
  "openai:o1-mini*": { ...toolless, reasoning: true, contextTokens: 128_000, outputTokens: 65_536 },
  "anthropic:claude-3-haiku*": { ...plain, structuredOutput: false, contextTokens: 200_000, outputTokens: 4096 },
  "anthropic:claude-3-opus*": { ...plain, structuredOutput: false, contextTokens: 200_000, outputTokens: 4096 },
  "anthropic:claude-3-5*": { ...plain, structuredOutput: false, contextTokens: 200_000, outputTokens: 8192 },
  "anthropic:claude-3-7*": { ...thinking, structuredOutput: false, contextTokens: 200_000, outputTokens: 64_000 },
  "anthropic:claude-opus-4": { ...thinking, contextTokens: 200_000, outputTokens: 32_000 },
  "anthropic:claude-opus-4-1": { ...thinking, contextTokens: 200_000, outputTokens: 32_000 },
  "anthropic:claude-sonnet-4": { ...thinking, contextTokens: 200_000, outputTokens: 64_000 },
  "google:gemini-1.5*": { ...plain, contextTokens: 1_048_576, outputTokens: 8192 },
  "google:gemini-2.0*": { ...plain, contextTokens: 1_048_576, outputTokens: 8192 },
  "google:gemini-2.5-flash-image*": { tools: false, images: true, reasoning: false, structuredOutput: false },
  "google:gemma-3*": { tools: false, images: true, reasoning: false, structuredOutput: false },
  "deepseek:deepseek-chat": {
    tools: true,
    images: false,
    structuredOutput: false,
    contextTokens: 128_000,
    outputTokens: 8192
  },
  "deepseek:deepseek-reasoner": {
    tools: true,
    images: false,
    reasoning: true,
    structuredOutput: false,
    contextTokens: 128_000,
    outputTokens: 65_536
  },
  "ollama:llama3.1*": { tools: true, images: false, reasoning: false, structuredOutput: true, contextTokens: 131_072 },
  "ollama:llama3.2": { tools: true, images: false, reasoning: false, structuredOutput: true, contextTokens: 131_072 },
  "ollama:llama3.2-vision*": { images: true, reasoning: false, structuredOutput: true, contextTokens: 131_072 },
  "ollama:qwen3*": { tools: true, images: false, reasoning: true, structuredOutput: true, contextTokens: 40_960 },
  "ollama:qwen3-vl*": { tools: true, images: true, reasoning: true, structuredOutput: true },
  "ollama:gemma2*": { tools: false, images: false, reasoning: false, structuredOutput: true, contextTokens: 8192 },
  "ollama:llava*": { tools: false, images: true, reasoning: false, structuredOutput: true }
}

const flags = { t: "tools", i: "images", r: "reasoning", s: "structuredOutput", q: "toolSearch" } as const

const abilitiesOf = (letters: string): Capabilities =>
  Object.fromEntries(
    [...letters].map((letter) => {
      const small = letter.toLowerCase() as keyof typeof flags
      return [flags[small], letter === small]
    })
  )

/** The price in the words of a line: four numbers, and then those for requests above a number of tokens. */
export const readPrice = (numbers: ReadonlyArray<string>): Price => {
  const four = (at: number): Price => {
    const [input, output, cacheRead, cacheWrite] = numbers
      .slice(at, at + 4)
      .map((one) => (one === "-" ? undefined : Number(one)))
    return { input: input!, output: output!, cacheRead, cacheWrite }
  }
  const above = numbers.flatMap((one, at) =>
    one.startsWith(">") ? [{ ...four(at + 1), inputTokens: Number(one.slice(1)) }] : []
  )
  return above.length === 0 ? four(0) : { ...four(0), above }
}

/** The lines of a table, each with the provider that it is below. */
export const linesOf = (table: string): ReadonlyArray<readonly [provider: string, line: string]> => {
  let provider = ""
  return table.split("\n").flatMap((line): ReadonlyArray<readonly [string, string]> => {
    if (!line.startsWith("@")) return [[provider, line]]
    provider = line.slice(1)
    return []
  })
}

let read: Catalog | undefined

/** The names of a line: `NAME@-,eu` is `NAME` and `eu.NAME`. */
const namesIn = (text: string): ReadonlyArray<string> => {
  const [name = "", regions] = text.split("@")
  return regions === undefined
    ? [name]
    : regions.split(",").map((region) => (region === "-" ? name : `${region}.${name}`))
}

/** The catalog of the package, read when it is first needed. */
export const catalog = (): Catalog => {
  if (read !== undefined) return read
  const entries: Record<string, Capabilities> = { ...others }
  for (const [provider, line] of linesOf(Shipped.table)) {
    const [names, context, output, letters, ...numbers] = line.split(" ")
    const known: Capabilities = {
      ...abilitiesOf(letters!),
      contextTokens: Number(context),
      outputTokens: Number(output),
      ...(numbers.length === 0 ? {} : { price: readPrice(numbers) })
    }
    for (const name of namesIn(names!)) {
      entries[`${provider}:${name}`] = known
      // Those of Azure come later.
      if (provider === "openai") entries[`azure:${name}`] = known
    }
  }
  return (read = entries)
}

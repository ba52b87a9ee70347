/**
 * What language models can do, as their makers' documentation says: the pages on models of OpenAI, Anthropic, Google and
 * DeepSeek, and the library of Ollama. A field that is not set is not known.
 */

/** The day that the table is of. */
export const date = "2026-11-29"

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
}

const seeing = { tools: true, images: true, structuredOutput: true }
const thinking = { ...seeing, reasoning: true }
const searching = { ...thinking, toolSearch: true }
const plain = { ...seeing, reasoning: false }

/** What models are known to do, by `provider:model`; a `*` at the end stands for any end, and the longest name that fits counts. */
export type Catalog = Readonly<Record<string, Capabilities>>

/** What a catalog says of `provider:model`; `undefined` for what it does not have. */
export const lookUp = (catalog: Catalog, name: string): Capabilities | undefined => {
  if (Object.hasOwn(catalog, name)) return catalog[name]
  const fitting = Object.keys(catalog).filter((one) => one.endsWith("*") && name.startsWith(one.slice(0, -1)))
  const longest = fitting.toSorted((a, b) => b.length - a.length)[0]
  return longest === undefined ? undefined : catalog[longest]
}

/** By `provider:model`; a `*` at the end stands for any end, and the longest name that fits counts. */
export const table: Catalog = {
  "openai:gpt-3.5-turbo*": {
    tools: true,
    images: false,
    reasoning: false,
    structuredOutput: false,
    contextTokens: 16_385,
    outputTokens: 4096
  },
  "openai:gpt-4": {
    tools: true,
    images: false,
    reasoning: false,
    structuredOutput: false,
    contextTokens: 8192,
    outputTokens: 8192
  },
  "openai:gpt-4-turbo*": { ...plain, structuredOutput: false, contextTokens: 128_000, outputTokens: 4096 },
  "openai:gpt-4o*": { ...plain, contextTokens: 128_000, outputTokens: 16_384 },
  "openai:gpt-4.1*": { ...plain, contextTokens: 1_047_576, outputTokens: 32_768 },
  "openai:gpt-5*": { ...thinking, contextTokens: 400_000, outputTokens: 128_000 },
  "openai:gpt-5.4*": { ...searching, contextTokens: 400_000, outputTokens: 128_000 },
  "openai:gpt-5.4-nano*": { ...thinking, contextTokens: 400_000, outputTokens: 128_000 },
  "openai:gpt-5.5*": { ...searching, contextTokens: 400_000, outputTokens: 128_000 },
  "openai:gpt-5.6*": { ...searching, contextTokens: 400_000, outputTokens: 128_000 },
  "openai:gpt-5-chat*": { ...plain, tools: false, contextTokens: 128_000, outputTokens: 16_384 },
  "openai:o1*": { ...thinking, contextTokens: 200_000, outputTokens: 100_000 },
  "openai:o1-mini*": {
    tools: false,
    images: false,
    reasoning: true,
    structuredOutput: false,
    contextTokens: 128_000,
    outputTokens: 65_536
  },
  "openai:o1-preview*": {
    tools: false,
    images: false,
    reasoning: true,
    structuredOutput: false,
    contextTokens: 128_000,
    outputTokens: 32_768
  },
  "openai:o3*": { ...thinking, contextTokens: 200_000, outputTokens: 100_000 },
  "openai:o3-mini*": { ...thinking, images: false, contextTokens: 200_000, outputTokens: 100_000 },
  "openai:o4-mini*": { ...thinking, contextTokens: 200_000, outputTokens: 100_000 },
  "openai:gpt-oss*": { ...thinking, images: false, contextTokens: 131_072 },
  "anthropic:claude-3-haiku*": { ...plain, structuredOutput: false, contextTokens: 200_000, outputTokens: 4096 },
  "anthropic:claude-3-opus*": { ...plain, structuredOutput: false, contextTokens: 200_000, outputTokens: 4096 },
  "anthropic:claude-3-5*": { ...plain, structuredOutput: false, contextTokens: 200_000, outputTokens: 8192 },
  "anthropic:claude-3-7*": { ...thinking, structuredOutput: false, contextTokens: 200_000, outputTokens: 64_000 },
  "anthropic:claude-opus-4*": { ...thinking, contextTokens: 200_000, outputTokens: 32_000 },
  "anthropic:claude-opus-4-5*": { ...searching, contextTokens: 200_000, outputTokens: 64_000 },
  "anthropic:claude-sonnet-4*": { ...thinking, contextTokens: 200_000, outputTokens: 64_000 },
  "anthropic:claude-sonnet-4-5*": { ...searching, contextTokens: 200_000, outputTokens: 64_000 },
  "anthropic:claude-haiku-4-5*": { ...searching, contextTokens: 200_000, outputTokens: 64_000 },
  "anthropic:claude-haiku-4*": { ...thinking, contextTokens: 200_000, outputTokens: 64_000 },
  "google:gemini-1.5*": { ...plain, contextTokens: 1_048_576, outputTokens: 8192 },
  "google:gemini-2.0*": { ...plain, contextTokens: 1_048_576, outputTokens: 8192 },
  "google:gemini-2.5*": { ...thinking, contextTokens: 1_048_576, outputTokens: 65_536 },
  "google:gemini-2.5-flash-image*": { tools: false, images: true, reasoning: false, structuredOutput: false },
  "google:gemini-3*": { ...thinking, contextTokens: 1_048_576, outputTokens: 65_536 },
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

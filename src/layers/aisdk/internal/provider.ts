/** What is known of the packages that models of the AI SDK come from. */
import type { Ways } from "../../internal/model/typedOutput.ts"

/** A provider by the name that its models give, such as `anthropic.messages`. */
export interface Provider {
  /** `gen_ai.provider.name` of the OpenTelemetry GenAI conventions. */
  readonly name: string
  /** The first part of the name that its models give: the key of its options. */
  readonly key: string
  /** The provider in the catalog of models; `undefined` if it has none of it. */
  readonly catalog: string | undefined
  /** The npm package, for advice; `undefined` if unknown. */
  readonly package: string | undefined
  /** Whether a tool's result may hold images and documents. */
  readonly takesResultFiles: boolean
  /** Whether an answer that holds a file may go back. */
  readonly takesAnswerFiles: boolean
  /** Whether a system message may come in the middle of a conversation. */
  readonly takesLateSystem: boolean
  readonly structuredOutput: Ways
}

interface Known extends Omit<Provider, "key" | "structuredOutput" | "catalog"> {
  readonly names: RegExp
  /** How typed output is asked for alongside tools. */
  readonly withTools: (model: string) => Ways["withTools"]
}

const schema = (): Ways["withTools"] => "json_schema"
const prompt = (): Ways["withTools"] => "prompt"
/** Gemini refuses a response schema alongside tools before its third generation: ai.google.dev/gemini-api/docs/structured-output. */
const gemini = (model: string): Ways["withTools"] => (/gemini-([3-9]|\d\d)/.test(model) ? "json_schema" : "prompt")

const allFiles = { takesResultFiles: true, takesAnswerFiles: true, takesLateSystem: false }
const files = { takesResultFiles: true, takesAnswerFiles: false, takesLateSystem: true }
const texts = { takesResultFiles: false, takesAnswerFiles: false, takesLateSystem: true }

/** As of 2026-12. The first that fits counts. */
const known: ReadonlyArray<Known> = [
  { names: /^(vertex\.)?anthropic\b/, name: "anthropic", package: "@ai-sdk/anthropic", ...files, withTools: schema },
  {
    names: /^google\.vertex\b/,
    name: "gcp.vertex_ai",
    package: "@ai-sdk/google-vertex",
    ...allFiles,
    withTools: gemini
  },
  { names: /^google\b/, name: "gcp.gemini", package: "@ai-sdk/google", ...allFiles, withTools: gemini },
  { names: /^openai\b/, name: "openai", package: "@ai-sdk/openai", ...files, withTools: schema },
  { names: /^azure/, name: "azure.ai.openai", package: "@ai-sdk/azure", ...files, withTools: schema },
  {
    names: /^(amazon-)?bedrock/,
    name: "aws.bedrock",
    package: "@ai-sdk/amazon-bedrock",
    ...files,
    takesLateSystem: false,
    withTools: schema
  },
  { names: /^mistral/, name: "mistral_ai", package: "@ai-sdk/mistral", ...texts, withTools: prompt },
  { names: /^xai/, name: "x_ai", package: "@ai-sdk/xai", ...texts, withTools: prompt },
  { names: /^cohere/, name: "cohere", package: "@ai-sdk/cohere", ...texts, withTools: prompt },
  { names: /^groq/, name: "groq", package: "@ai-sdk/groq", ...texts, withTools: prompt },
  { names: /^deepseek/, name: "deepseek", package: "@ai-sdk/deepseek", ...texts, withTools: prompt },
  { names: /^perplexity/, name: "perplexity", package: "@ai-sdk/perplexity", ...texts, withTools: prompt }
]

const catalogs: Readonly<Record<string, string>> = {
  anthropic: "anthropic",
  "gcp.gemini": "google",
  "gcp.vertex_ai": "vertex",
  openai: "openai",
  "azure.ai.openai": "azure",
  "aws.bedrock": "bedrock",
  mistral_ai: "mistral",
  x_ai: "xai",
  groq: "groq",
  deepseek: "deepseek",
  cerebras: "cerebras"
}

/** What is known of the provider of a model. Of an unknown one the least is assumed. */
export const providerOf = (given: string, model: string): Provider => {
  const key = given.split(".")[0] ?? given
  const unknown: Known = { names: /^/, name: key, package: undefined, ...texts, withTools: prompt }
  const { names: _names, withTools, ...features } = known.find(({ names }) => names.test(given)) ?? unknown
  const structuredOutput = { alone: "json_schema", withTools: withTools(model) } as const
  return { ...features, key, catalog: catalogs[features.name], structuredOutput }
}

/** Known differences of common servers from OpenAI's own, as of 2026-12. Options take precedence. */

import type * as Schema from "effect/Schema"
import type { Ways } from "../../internal/model/typedOutput.ts"

/** The features of one server. */
interface Known {
  /** The server's host names; one that begins with a dot matches all names below it. */
  readonly hosts: ReadonlyArray<string>
  /** How to ask for typed output where no tools are offered, and where some are. */
  readonly structuredOutput: Ways
  /** The fields that limit the tokens of reasoning, where the server takes such a limit. */
  readonly thinking?: ((tokens: number) => Readonly<Record<string, Schema.Json>>) | undefined
  /** How long the ids of calls are that the server takes back, where it insists on it: letters and digits. */
  readonly callIdLength?: number | undefined
  /** The tag that thoughts stand in before a text. Default `think`. */
  readonly thoughtTag?: string | undefined
}

/**
 * Every server takes a schema where there are no tools, or so most say. With tools alongside it vLLM, Ollama, llama-server and
 * others hold the whole answer to the schema: no tool is ever called, and the answer is made up. There the schema goes
 * into the instructions.
 */
const anyServer: Known = { hosts: [], structuredOutput: { alone: "json_schema", withTools: "prompt" } }

const jsonMode = { alone: "json_object", withTools: "prompt" } as const

const known: ReadonlyArray<Known> = [
  {
    // OpenAI and Azure accept a schema together with tools.
    hosts: [
      "api.openai.com",
      ".api.openai.com",
      ".openai.azure.com",
      ".services.ai.azure.com",
      ".cognitiveservices.azure.com"
    ],
    structuredOutput: { alone: "json_schema", withTools: "json_schema" }
  },
  // JSON mode only, and the word "json" in the prompt: api-docs.deepseek.com/guides/json_mode.
  { hosts: ["api.deepseek.com"], structuredOutput: jsonMode },
  // A schema for some models only, JSON mode for all, neither with tools: console.groq.com/docs/structured-outputs.
  { hosts: ["api.groq.com"], structuredOutput: jsonMode },
  // A schema for some models only: alibabacloud.com/help/en/model-studio/qwen-structured-output.
  {
    hosts: ["dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com", "dashscope-us.aliyuncs.com"],
    structuredOutput: jsonMode,
    // alibabacloud.com/help/en/model-studio/deep-thinking.
    thinking: (tokens) => ({ enable_thinking: true, thinking_budget: tokens })
  },
  { hosts: ["api.moonshot.ai", "api.moonshot.cn"], structuredOutput: jsonMode },
  { hosts: ["open.bigmodel.cn", "api.z.ai"], structuredOutput: jsonMode },
  // `response_format` is ignored: docs.anthropic.com/en/api/openai-sdk.
  {
    hosts: ["api.anthropic.com"],
    structuredOutput: { alone: "prompt", withTools: "prompt" },
    thinking: (tokens) => ({ thinking: { type: "enabled", budget_tokens: tokens } })
  },
  {
    hosts: ["generativelanguage.googleapis.com"],
    structuredOutput: anyServer.structuredOutput,
    // ai.google.dev/gemini-api/docs/openai#thinking.
    thinking: (tokens) => ({
      extra_body: { google: { thinking_config: { thinking_budget: tokens, include_thoughts: true } } }
    }),
    thoughtTag: "thought"
  },
  // openrouter.ai/docs/use-cases/reasoning-tokens.
  {
    hosts: ["openrouter.ai"],
    structuredOutput: anyServer.structuredOutput,
    thinking: (tokens) => ({ reasoning: { max_tokens: tokens } })
  },
  { hosts: ["api.minimax.io", "api.minimax.chat"], structuredOutput: { alone: "prompt", withTools: "prompt" } },
  // "Tool call id ... must be a-z, A-Z, 0-9, with a length of 9".
  { hosts: ["api.mistral.ai"], structuredOutput: anyServer.structuredOutput, callIdLength: 9 }
]

/** The known features of the server at `host`. */
export const serverAt = (host: string): Known =>
  known.find(({ hosts }) => hosts.some((name) => (name.startsWith(".") ? host.endsWith(name) : host === name))) ??
  anyServer

/** True for OpenAI's own API, its regional hosts included. */
export const isOpenAi = (host: string): boolean => host === "api.openai.com" || host.endsWith(".api.openai.com")

/** Servers that refuse a conversation as too long, each in its own words, over HTTP and on both edges: it is compacted once and sent again. */
import { assert, describe, layer } from "@effect/vitest"
import { Cause, Effect, Exit, Redacted } from "effect"
import { Prompt } from "effect/ai"
import { Agent, Compaction, OpenAi } from "troupe"
import * as ChildServer from "../support/childServer.ts"
import { exitOn } from "../support/edges.ts"
import { ways } from "../support/wireRuns.ts"

const quarter = (text: string) => Math.ceil(text.length / 4)
const message = (text: string) => ({ content: [Prompt.textPart({ text })] })
const conversation = Prompt.fromMessages([
  ...Array.from({ length: 20 }, (_, n) => [
    Prompt.userMessage(message(`question ${n}`)),
    Prompt.assistantMessage(message(`answer ${n} ${"word ".repeat(160)}`))
  ]).flat(),
  Prompt.userMessage(message("and now?"))
])
const agent = Agent.make("agent", {
  retry: "none",
  middleware: [Compaction.make({ window: 128_000, tokenizer: quarter, policies: [Compaction.dropOldest] })]
})

interface Refusal {
  readonly api: "chat" | "responses"
  readonly status: number
  readonly body: unknown
  /** The window that it names. */
  readonly window?: number
}

/** As the servers send them. */
const refusals: Readonly<Record<string, Refusal>> = {
  "OpenAI, chat": {
    api: "chat",
    status: 400,
    body: {
      error: {
        message:
          "This model's maximum context length is 2048 tokens. However, your messages resulted in 4021 tokens. Please reduce the length of the messages.",
        type: "invalid_request_error",
        param: "messages",
        code: "context_length_exceeded"
      }
    },
    window: 2048
  },
  "OpenAI, responses": {
    api: "responses",
    status: 400,
    body: {
      error: {
        message: "Your input exceeds the context window of this model. Please adjust your input and try again.",
        type: "invalid_request_error",
        param: "input",
        code: "context_length_exceeded"
      }
    }
  },
  Azure: {
    api: "chat",
    status: 400,
    body: {
      error: {
        message:
          "This model's maximum context length is 2048 tokens, however you requested 5000 tokens (904 in your prompt; 4096 for the completion). Please reduce your prompt; or completion length.",
        type: "invalid_request_error",
        param: null,
        code: null
      }
    },
    window: 2048
  },
  vLLM: {
    api: "chat",
    status: 400,
    body: {
      object: "error",
      message:
        "This model's maximum context length is 2048 tokens. However, you requested 5000 tokens in the messages, Please reduce the length of the messages.",
      type: "BadRequestError",
      param: null,
      code: 400
    },
    window: 2048
  },
  "vLLM, newer": {
    api: "chat",
    status: 400,
    body: {
      error: {
        message:
          "You passed 5001 input tokens and requested 0 output tokens. However, the model's context length is only 2048 tokens, resulting in a maximum input length of 2048 tokens. Please reduce the length of the input prompt.",
        type: "BadRequestError",
        param: "input_tokens",
        code: 400
      }
    },
    window: 2048
  },
  Ollama: {
    api: "chat",
    status: 400,
    body: {
      error: {
        message: "the input length exceeds the context length",
        type: "invalid_request_error",
        param: null,
        code: null
      }
    }
  },
  "llama.cpp": {
    api: "chat",
    status: 400,
    body: {
      error: {
        code: 400,
        message: "the request exceeds the available context size (2048 tokens), try increasing it",
        type: "exceed_context_size_error",
        n_prompt_tokens: 4500,
        n_ctx: 2048
      }
    },
    window: 2048
  },
  OpenRouter: {
    api: "chat",
    status: 400,
    body: {
      error: {
        message:
          'This endpoint\'s maximum context length is 2048 tokens. However, you requested about 5000 tokens (4000 of text input, 1000 in the output). Please reduce the length of either one, or use the "middle-out" transform to compress your prompt automatically.',
        code: 400,
        metadata: { provider_name: null }
      }
    },
    window: 2048
  },
  "OpenRouter, of a provider behind it": {
    api: "chat",
    status: 400,
    body: {
      error: {
        message: "Provider returned error",
        code: 400,
        metadata: {
          raw: '{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 5000 tokens > 2048 maximum"}}',
          provider_name: "Anthropic"
        }
      }
    },
    window: 2048
  },
  "a server in front of one": {
    api: "chat",
    status: 413,
    body: { error: { message: "the prompt is too long: 5000 tokens > 2048 maximum", type: "invalid_request_error" } },
    window: 2048
  }
}
/** In the midst of a stream that had been accepted. */
const events: Readonly<Record<string, Omit<Refusal, "status"> & { readonly body: ReadonlyArray<unknown> }>> = {
  "OpenAI, responses, in a stream": {
    api: "responses",
    body: [
      {
        type: "response.failed",
        response: {
          id: "r",
          status: "failed",
          error: { code: "context_length_exceeded", message: "Your input exceeds the context window of this model." }
        }
      }
    ]
  },
  "OpenRouter, in a stream": {
    api: "chat",
    body: [
      {
        id: "c",
        object: "chat.completion.chunk",
        error: { code: 400, message: "This endpoint's maximum context length is 2048 tokens." },
        choices: [{ index: 0, delta: { content: "" }, finish_reason: "error" }]
      }
    ],
    window: 2048
  }
}

layer(ChildServer.layer, { excludeTestServices: true })("a conversation that is refused as too long", (it) => {
  const goesOn = (edge: keyof typeof exitOn, refusal: Refusal, way: keyof typeof ways) =>
    Effect.gen(function* () {
      const server = yield* ChildServer.Server
      const { api, body, status, window } = refusal
      const refused = status === 200 ? { events: body as ReadonlyArray<unknown> } : { status, body }
      const url = yield* server.script(refused, { text: "done" })
      const model = OpenAi.layer({ model: "m", baseUrl: url, api, apiKey: Redacted.make("k"), retry: "none" })
      const exit = yield* exitOn[edge](Effect.provide(ways[way](agent, conversation), model))
      assert.isTrue(Exit.isSuccess(exit), Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "")
      const sizes = (yield* server.seen).map((seen) => JSON.stringify(seen.body).length)
      assert.strictEqual(sizes.length, 2)
      assert.isBelow(sizes[1]!, sizes[0]! * 0.7)
      if (window !== undefined) assert.isBelow(sizes[1]! / 4, window)
    })

  for (const edge of ["async", "sync"] as const) {
    describe(`${edge}, by`, () => {
      for (const [name, refusal] of Object.entries(refusals)) {
        it.effect(name, () => Effect.andThen(goesOn(edge, refusal, "whole"), goesOn(edge, refusal, "streamed")))
      }
      for (const [name, refusal] of Object.entries(events)) {
        it.effect(name, () => goesOn(edge, { ...refusal, status: 200 }, "streamed"))
      }
    })
  }
})

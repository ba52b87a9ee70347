/** Asks a strict server of ours through the provider itself, without an agent around it. */
import { Effect, Redacted } from "effect"
import { Prompt, type Tool } from "effect/ai"
import { OpenAi } from "troupe"
import { directModel } from "./directModel.ts"
import * as Server from "./openAiServer.ts"

export interface Asked {
  readonly prompt?: Prompt.RawInput
  readonly tools?: ReadonlyArray<Tool.Any>
}

/** The body of the request that the server got. Fails when it was not sent, or refused. */
export const bodyOf = (api: "chat" | "responses", { prompt = "go", tools = [] }: Asked) =>
  Effect.gen(function* () {
    const server = yield* Server.make([{ text: "ok" }])
    yield* Effect.flatMap(directModel, (self) =>
      self.generateText({
        prompt: Prompt.make(prompt),
        tools,
        toolChoice: "auto",
        responseFormat: { type: "text" },
        span: { attribute: () => {} } as never,
        previousResponseId: undefined,
        incrementalPrompt: undefined,
        toolCallValidation: "deferred"
      })
    ).pipe(
      Effect.provide(OpenAi.layer({ model: "m", baseUrl: server.url, api, apiKey: Redacted.make("k"), retry: "none" }))
    )
    return server.requests[0]!.body
  }).pipe(Effect.scoped)

/** What a provider is asked where its answer is looked at part by part, without effect/ai around it. */
import { Effect, Redacted } from "effect"
import { type LanguageModel, Prompt, type Response } from "effect/ai"
import { OpenAi } from "troupe"
import { directModel } from "./directModel.ts"
import * as Server from "./openAiServer.ts"

export type Part = Response.PartEncoded | Response.StreamPartEncoded

export const request: LanguageModel.ProviderOptions = {
  prompt: Prompt.make("go"),
  tools: [],
  toolChoice: "none",
  responseFormat: { type: "text" },
  span: { attribute: () => {} } as never,
  previousResponseId: undefined,
  incrementalPrompt: undefined,
  toolCallValidation: "deferred"
}

/** The provider itself, on a server that gives one answer. */
export const provider = (api: "chat" | "responses", reply: Server.Reply) =>
  Effect.gen(function* () {
    const server = yield* Server.make([reply])
    const model = OpenAi.layer({ model: "m", baseUrl: server.url, api, apiKey: Redacted.make("k"), retry: "none" })
    return yield* Effect.orDie(Effect.provide(directModel, model))
  })

/** A part in a few words. */
export const brief = (part: Part): string => {
  const { id, type } = part as { readonly type: string; readonly id?: string }
  const said = (part as { readonly delta?: string }).delta ?? (part as { readonly text?: string }).text
  const rest =
    part.type === "tool-call"
      ? `${part.name} ${JSON.stringify(part.params)}`
      : part.type === "finish"
        ? part.reason
        : said
  return [type, id, rest].filter((one) => one !== undefined).join(" ")
}
/** Parts in a few words each. */
export const briefly = (parts: ReadonlyArray<Part>) => parts.map(brief)

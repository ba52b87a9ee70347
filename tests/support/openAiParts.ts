/** What a provider makes of a reply that a test writes out, byte for byte. */
import { Cause, Effect, Exit, type Layer, Stream } from "effect"
import type { AiError, LanguageModel } from "effect/ai"
import { Server } from "./childServer.ts"
import { directModel } from "./directModel.ts"
import type { exitOn } from "./edges.ts"
import { type Part, request } from "./openAiRequest.ts"
import type { Reply } from "./openAiServer.ts"

/** How an answer comes. */
export type Form = "whole" | "stream"

/** The parts that were emitted, and the error that ended them. `modelAt` makes the model of a server's address. */
export const partsOf = <E>(
  runOn: (typeof exitOn)[keyof typeof exitOn],
  form: Form,
  reply: Reply,
  modelAt: (url: string) => Layer.Layer<LanguageModel.LanguageModel, E>
) =>
  Effect.gen(function* () {
    const server = yield* Server
    const url = yield* server.script(reply)
    const parts: Array<Part> = []
    const asked = Effect.flatMap(directModel, (provider) =>
      form === "whole"
        ? Effect.map(provider.generateText(request), (all) => void parts.push(...all))
        : Stream.runForEach(provider.streamText(request), (part) => Effect.sync(() => void parts.push(part)))
    )
    const exit = yield* runOn(Effect.provide(asked, modelAt(url)))
    return { parts, error: Exit.isFailure(exit) ? (Cause.squash(exit.cause) as AiError.AiError) : undefined }
  })

/** Server-sent events, each of them JSON. */
export const data = (...events: ReadonlyArray<unknown>): string =>
  events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("")

/** The event that ends a stream of Chat Completions. */
export const done = "data: [DONE]\n\n"

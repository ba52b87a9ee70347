/** A language model whose answers are the outputs of a runner: what `Runner.asLanguageModel` provides. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Model from "effect/ai/Model"
import * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import * as ModelInfo from "../services/ModelInfo.ts"
import { CurrentRun } from "../services/CurrentRun.ts"
import { captured, withCaptured } from "./captured.ts"
import { messageOf } from "./message.ts"
import { CurrentState } from "./runState.ts"

/** The provider of models that are runners. */
export const providerName = "troupe"

interface Source<E, R> {
  readonly name: string
  readonly run: (input: Prompt.RawInput) => Effect.Effect<string, E, R>
}

/** What the runner has from where its model was built, also when its caller has another: or it would be its own model. */
const kept: ReadonlySet<string> = new Set([
  LanguageModel.LanguageModel.key,
  Model.ProviderName.key,
  Model.ModelName.key,
  ModelInfo.CurrentModel.key
])

/** The services of the Layer. */
export const modelOf = <E, R>(
  runner: Source<E, R>
): Effect.Effect<Context.Context<LanguageModel.LanguageModel>, never, R> =>
  Effect.gen(function* () {
    // A call belongs to the run that makes it, and not to one that the Layer was built in.
    const services = Context.omit(CurrentState, CurrentRun)(yield* captured<R>()) as Context.Context<R>
    const answer = (request: LanguageModel.ProviderOptions) => withCaptured(answerOf(runner, request), services, kept)
    const model = yield* LanguageModel.make({
      generateText: (request) =>
        Effect.map(answer(request), (text): Array<Response.PartEncoded> => [{ type: "text", text }, finish]),
      streamText: (request) =>
        Stream.fromIterableEffect(
          Effect.map(answer(request), (delta): ReadonlyArray<Response.StreamPartEncoded> => [
            { type: "text-start", id: "text" },
            { type: "text-delta", id: "text", delta },
            { type: "text-end", id: "text" },
            finish
          ])
        )
    })
    return ModelInfo.context(model, {
      provider: providerName,
      model: runner.name,
      structuredOutput: true,
      // Those of its caller are those of the models that the runner calls.
      readsSettings: true,
      retry: "none"
    })
  })

/** The tokens are counted where they are used: in the runs of the runner. */
const finish: Response.FinishPartEncoded = {
  type: "finish",
  reason: "stop",
  usage: { inputTokens: {}, outputTokens: {} },
  response: undefined
}

const answerOf = <E, R>(runner: Source<E, R>, request: LanguageModel.ProviderOptions) =>
  Effect.withFiber((fiber): Effect.Effect<string, AiError.AiError, R> => {
    if (request.tools.length > 0) return Effect.fail(noTools(runner.name))
    const { responseFormat } = request
    const format =
      responseFormat.type === "json"
        ? LanguageModel.defaultCodecTransformer(responseFormat.schema)
        : fiber.getRef(ModelInfo.OutputFormat)
    const input = format === undefined ? request.prompt : asking(request.prompt, format.jsonSchema)
    const output = runner.run(input).pipe(
      // What was asked of this model is not asked of those that the runner calls.
      Effect.provideService(ModelInfo.OutputFormat, undefined),
      Effect.provideService(ModelInfo.CallerRetries, false),
      Effect.mapError((error) => asAiError(runner.name, error))
    )
    return format === undefined ? output : Effect.map(output, withoutFence)
  })

const noTools = (name: string): AiError.AiError =>
  AiError.make({
    module: "Runner",
    method: "asLanguageModel",
    reason: new AiError.InvalidRequestError({
      parameter: "tools",
      description: `the runner "${name}" is used as a model and takes no tools. Give the tools to the agents in it`
    })
  })

/** The provider's own error where there is one, so that its kind is known. */
const asAiError = (name: string, error: unknown): AiError.AiError => {
  if (AiError.isAiError(error)) return error
  if (Predicate.hasProperty(error, "reason") && AiError.isAiError(error.reason)) return error.reason
  const description = `the runner "${name}", used as a model, failed: ${messageOf(error)}`
  return AiError.make({
    module: "Runner",
    method: "asLanguageModel",
    reason: new AiError.UnknownError({ description })
  })
}

/** The prompt with the shape of the answer in words, where models look last. */
const asking = (prompt: Prompt.Prompt, jsonSchema: unknown): Prompt.Prompt => {
  const text = Prompt.textPart({
    text: `Answer with only a JSON value that fits this JSON schema, without any other text:\n${JSON.stringify(jsonSchema)}`
  })
  const last = prompt.content.at(-1)
  return Prompt.fromMessages(
    last?.role === "user"
      ? [...prompt.content.slice(0, -1), Prompt.userMessage({ ...last, content: [...last.content, text] })]
      : [...prompt.content, Prompt.userMessage({ content: [text] })]
  )
}

/** Models like to put JSON into a code fence, which `LanguageModel.generateObject` does not read. */
const withoutFence = (text: string): string => /^\s*```[a-z]*\s*\n([\s\S]*?)\n\s*```\s*$/i.exec(text)?.[1] ?? text

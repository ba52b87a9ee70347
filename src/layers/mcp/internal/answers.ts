/** Answers to what servers ask: by the model, by a handler, and the roots. */
import type {
  CreateMessageRequest,
  CreateMessageResult,
  ElicitRequest,
  ElicitResult
} from "@modelcontextprotocol/sdk/types.js"
import * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Prompt from "effect/ai/Prompt"
import * as Schema from "effect/Schema"
import * as SchemaRepresentation from "effect/SchemaRepresentation"
import * as ModelInfo from "../../../services/ModelInfo.ts"
import { type Content, toPart } from "./content.ts"
import { approveSampling, Budget } from "./sampling.ts"

/** A server asks for an answer of our model. */
export type SamplingRequest = CreateMessageRequest["params"]
/** The argument of the handler. */
export type SamplingResult = CreateMessageResult
/** A server asks the user for something: a form to fill, or an address to visit. */
export type ElicitationRequest = ElicitRequest["params"]
/** The user's answer. */
export type ElicitationResult = ElicitResult

/** A place that servers may work in: a `file://` address. */
export interface Root {
  readonly uri: string
  readonly name?: string | undefined
}

/**
 * Answers with the model that the Layer was built with. If an approver is provided (`Approvals`), it is asked before. The
 * tokens count in the run whose tool call the server works on, and against `samplingLimits`.
 *
 * The answer has at most `maxTokens` of the request, or what `samplingLimits` leaves: the model is asked for no more
 * (`ModelInfo.MaxOutputTokens`), and an answer that is longer all the same is cut, with `stopReason: "maxTokens"`. A model that
 * refuses the limit, for example because it is above its own, is asked once more without it. The server's other wishes, such as
 * `temperature` and `modelPreferences`, are not followed.
 *
 * Fails with the model's error, with the reason of an approver, or for a `maxTokens` that is not 1 or more.
 *
 * @example
 * import { Mcp } from "troupe"
 *
 * const Servers = Mcp.layer({ servers: { files: { command: "my-server" } }, sampling: Mcp.sampleWithModel })
 */
export const sampleWithModel = (
  request: SamplingRequest
): Effect.Effect<SamplingResult, AiError.AiError | string, LanguageModel.LanguageModel> =>
  Effect.gen(function* () {
    const { maxTokens, messages, systemPrompt } = request
    if (!(maxTokens >= 1)) return yield* Effect.fail(`maxTokens is ${maxTokens}; ask for 1 or more`)
    yield* approveSampling(request)
    const model = yield* LanguageModel.LanguageModel
    const { left, spend } = yield* Budget
    const most = Math.min(maxTokens, left())
    const prompt = Prompt.fromMessages([
      ...(systemPrompt === undefined ? [] : [Prompt.systemMessage({ content: systemPrompt })]),
      ...messages.map(toMessage)
    ])
    const ask = model.generateText({ prompt })
    const response = yield* Effect.provideService(ask, ModelInfo.MaxOutputTokens, most).pipe(
      Effect.catchReason("AiError", "InvalidRequestError", () => ask)
    )
    spend(response.usage)
    return {
      role: "assistant",
      model: (yield* ModelInfo.get)?.model ?? "unknown",
      ...within(response, most)
    }
  })

const toMessage = ({ content, role }: SamplingRequest["messages"][number]): Prompt.Message => {
  const parts = [content].flat().map((one) => toPart(one as Content))
  return role === "assistant" ? Prompt.assistantMessage({ content: parts }) : Prompt.userMessage({ content: parts })
}

/** An answer, cut to its share where the model says that it has more tokens than it may. */
const within = (
  { finishReason, text, usage }: LanguageModel.GenerateTextResponse<{}>,
  most: number
): Pick<SamplingResult, "content" | "stopReason"> => {
  const { reasoning = 0, total = 0 } = usage.outputTokens
  const tokens = usage.outputTokens.text ?? total - reasoning
  if (tokens <= most) {
    return { content: { type: "text", text }, stopReason: finishReason === "length" ? "maxTokens" : "endTurn" }
  }
  // Without half of a character at its end.
  const cut = text.slice(0, Math.floor((text.length * most) / tokens)).replace(/[\uD800-\uDBFF]$/, "")
  return { content: { type: "text", text: cut }, stopReason: "maxTokens" }
}

type Form = Schema.Codec<Record<string, string | number | boolean | Array<string>>>

/** `undefined` when the server's schema is not a form. */
const formOf = (schema: object): Form | undefined => {
  try {
    return SchemaRepresentation.fromJsonSchemaDocument(
      { dialect: "draft-2020-12", schema: { ...schema }, definitions: {} },
      { patterns: "ignore" }
    ) as Form
  } catch {
    return undefined
  }
}

/**
 * Lets the model in the context fill in the server's form, or decline it. The model sees only the server's request, so it
 * answers from that and from common knowledge. Addresses are always declined: a model cannot visit them. So is a schema that
 * is not a form.
 *
 * Fails with the model's error, which the server gets as the reason.
 *
 * @example
 * import { Mcp } from "troupe"
 *
 * const Servers = Mcp.layer({ servers: { files: { command: "my-server" } }, elicitation: Mcp.elicitWithModel })
 */
export const elicitWithModel = (
  request: ElicitationRequest
): Effect.Effect<ElicitationResult, AiError.AiError, LanguageModel.LanguageModel> =>
  Effect.gen(function* () {
    if (request.mode === "url") return { action: "decline" } as const
    const form = formOf(request.requestedSchema)
    if (form === undefined) return { action: "decline" } as const
    const { value } = yield* LanguageModel.generateObject({
      prompt: `A tool asks: ${request.message}\nFill its form, or set accept to false when you do not know what to fill in.`,
      schema: Schema.Struct({ accept: Schema.Boolean, content: Schema.NullOr(form) }),
      objectName: "form"
    })
    if (!value.accept || value.content === null) return { action: "decline" } as const
    return { action: "accept", content: value.content } as const
  })

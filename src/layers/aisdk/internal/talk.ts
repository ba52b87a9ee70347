/** Asks a model for a whole answer, and reads it. */
import type {
  LanguageModelV4,
  LanguageModelV4CallOptions,
  LanguageModelV4GenerateResult,
  SharedV4Warning
} from "@ai-sdk/provider"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import { malformed } from "../../internal/model/problems.ts"
import { answered } from "../../internal/model/typedOutput.ts"
import * as Errors from "./errors.ts"
import { failWith, Known, reading } from "./failed.ts"
import { OwnCalls } from "./ownCalls.ts"
import * as Parts from "./parts.ts"
import { asked } from "./waiting.ts"

/** The model, and how it is asked. */
export interface Callee {
  readonly model: LanguageModelV4
  readonly timeout: Duration.Duration
  /** Notes what the provider did not do as asked. Fails for reasoning that was asked for. */
  readonly warn: (
    warnings: ReadonlyArray<SharedV4Warning>,
    asked: LanguageModelV4CallOptions
  ) => Effect.Effect<void, Known>
}

/** A request, and how its answer is read. */
export interface Question {
  readonly options: LanguageModelV4CallOptions
  /** The tool whose arguments are the answer. */
  readonly answerTool: string | undefined
  /** True where the provider was asked for JSON. */
  readonly isTyped: boolean
  /** The call, for its errors. */
  readonly failing: Errors.Failing
}

/** The parts of a whole answer. Interruption aborts the request. */
export const whole = (
  { model, timeout, warn }: Callee,
  { answerTool, failing, isTyped, options }: Question
): Effect.Effect<ReadonlyArray<Response.PartEncoded>, AiError.AiError> =>
  asked(timeout, (abortSignal) => model.doGenerate({ ...options, abortSignal })).pipe(
    Effect.tap((result) => warn(result.warnings ?? [], options)),
    Effect.tap((result) =>
      Effect.flatMap(
        reading(() => result.content.flatMap(Parts.unreadIn)),
        (unread) => warn(unread, options)
      )
    ),
    Effect.flatMap((result) =>
      reading(() => {
        const parts = partsOf(result, model.provider, isTyped)
        return answerTool === undefined ? parts : answered(parts, answerTool)
      })
    ),
    Effect.catch(failWith(failing))
  )

const partsOf = (
  result: LanguageModelV4GenerateResult,
  provider: string,
  isTyped: boolean
): ReadonlyArray<Response.PartEncoded> => {
  const { content, finishReason, usage } = result
  const reason = Parts.reasonOf(finishReason, content.some(Parts.isOwnCall))
  if (reason === undefined) throw new Known(Errors.cut())
  // As in a stream: a model that has ended says why.
  if (content.length === 0 && reason === "other" && finishReason.raw === undefined) {
    throw new Known(malformed("the model gave no answer, and no reason for that"))
  }
  const calls = new OwnCalls<Response.PartEncoded>()
  const read = content.flatMap((part) => Parts.whole(part, provider)).flatMap((part) => calls.read(part))
  const all = [...read, ...calls.end()]
  const chosen = isTyped ? result.structuredOutputText : undefined
  const said: ReadonlyArray<Response.PartEncoded> =
    chosen === undefined ? all : [...all.filter(({ type }) => type !== "text"), { type: "text", text: chosen }]
  return [...Parts.metadata(result.response), ...said, Parts.finish(reason, usage)]
}

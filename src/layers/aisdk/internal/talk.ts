/** Asks a model and reads its answer: whole, or as it streams. */
import type {
  LanguageModelV4,
  LanguageModelV4CallOptions,
  LanguageModelV4StreamPart,
  SharedV4Warning
} from "@ai-sdk/provider"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { malformed, type Problem, quote } from "../../internal/model/problems.ts"
import { answered, AnswerReader } from "../../internal/model/typedOutput.ts"
import { messageOf } from "../../../internal/message.ts"
import * as Errors from "./errors.ts"
import * as Parts from "./parts.ts"
import { Late, within } from "./waiting.ts"

/** The model, and how it is asked. */
export interface Callee {
  readonly model: LanguageModelV4
  readonly timeout: Duration.Duration
  readonly warn: (warnings: ReadonlyArray<SharedV4Warning>) => Effect.Effect<void>
  readonly failing: Errors.Failing
}

/** A request, and how its answer is read. */
export interface Question {
  readonly options: LanguageModelV4CallOptions
  /** The tool whose arguments are the answer. */
  readonly answerTool: string | undefined
  /** True where the provider was asked for JSON. */
  readonly isTyped: boolean
}

/** A problem that is known already. */
export class Known extends Error {
  readonly problem: Problem

  constructor(problem: Problem) {
    super(problem.message)
    this.problem = problem
  }
}

/** The parts of a whole answer. Fails with what the model threw. Interruption aborts the request. */
export const whole = (
  { model, timeout, warn }: Callee,
  { answerTool, isTyped, options }: Question
): Effect.Effect<ReadonlyArray<Response.PartEncoded>, unknown> =>
  Effect.suspend(() => {
    const controller = new AbortController()
    const ask = () => model.doGenerate({ ...options, abortSignal: controller.signal })
    return Effect.flatMap(
      within(timeout, ask, () => controller.abort()),
      (result) =>
        Effect.andThen(
          warn(result.warnings ?? []),
          reading((): ReadonlyArray<Response.PartEncoded> => {
            const reason = Parts.reasonOf(result.finishReason, result.content.some(Parts.isOwnCall))
            if (reason === undefined) throw new Known(Errors.cut())
            // As in a stream: a model that has ended says why.
            if (result.content.length === 0 && reason === "other" && result.finishReason.raw === undefined) {
              throw new Known(malformed("the model gave no answer, and no reason for that"))
            }
            const all = result.content.flatMap((part) => Parts.whole(part, model.provider))
            const chosen = isTyped ? result.structuredOutputText : undefined
            const content =
              chosen === undefined
                ? all
                : [...all.filter(({ type }) => type !== "text"), { type: "text", text: chosen } as const]
            const parts = [...Parts.metadata(result.response), ...content, Parts.finish(reason, result.usage)]
            return answerTool === undefined ? parts : answered(parts, answerTool)
          })
        )
    )
  })

/** Reads what a model gave. What it cannot be read as is a fault of the answer, and not of the program. */
const reading = <A>(read: () => A): Effect.Effect<A, unknown> =>
  Effect.try({
    try: read,
    catch: (error) =>
      error instanceof Known || error instanceof Parts.AsksApproval
        ? error
        : new Known(malformed(`the model's answer has no form that can be read: ${quote(messageOf(error))}`))
  })

/** The parts of an answer as they come. Closing the scope aborts the request and gives the stream up. */
export const streamed = (
  callee: Callee,
  question: Question
): Effect.Effect<Stream.Stream<Response.StreamPartEncoded, AiError.AiError>, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const { model, timeout } = callee
    const controller = yield* Effect.acquireRelease(
      Effect.sync(() => new AbortController()),
      (controller) => Effect.sync(() => controller.abort())
    )
    const ask = () => model.doStream({ ...question.options, abortSignal: controller.signal })
    const { stream } = yield* within(timeout, ask, () => controller.abort())
    const reader = yield* Effect.acquireRelease(
      Effect.sync(() => stream.getReader()),
      (reader) => Effect.sync(() => void reader.cancel().catch(ignore))
    )
    return Stream.fromPull(Effect.succeed(pullOf(reader, callee, question, controller)))
  })

/** After the end of an answer its body is read to the end, so that the connection can be used again, but not for long. */
const drain = Duration.millis(100)

const ignore = (): void => {}

type Parts = [Response.StreamPartEncoded, ...Array<Response.StreamPartEncoded>]

const pullOf = (
  reader: ReadableStreamDefaultReader<LanguageModelV4StreamPart>,
  callee: Callee,
  { answerTool }: Question,
  controller: AbortController
): Effect.Effect<Parts, AiError.AiError | Cause.Done> => {
  const answer = answerTool === undefined ? undefined : new AnswerReader(answerTool)
  let isFinished = false
  let isCalling = false
  const fail = (error: unknown) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.fail(errorOf(error, callee.failing, now)))
  const take = (part: LanguageModelV4StreamPart): Effect.Effect<ReadonlyArray<Response.StreamPartEncoded>, unknown> => {
    if (part.type === "stream-start") return Effect.as(callee.warn(part.warnings ?? []), [])
    if (part.type === "error") return Effect.fail(new InStream(part.error))
    isCalling ||= Parts.isOwnCall(part)
    if (part.type !== "finish") return reading(() => Parts.streamed(part, callee.model.provider))
    const reason = Parts.reasonOf(part.finishReason, isCalling)
    // Providers that lose the connection close the answer with no reason of the model's.
    if (reason === undefined || (reason === "other" && part.finishReason.raw === undefined)) {
      return Effect.fail(new Known(Errors.cut()))
    }
    isFinished = true
    return reading(() => [Parts.finish(reason, part.usage)])
  }
  const next: Effect.Effect<Parts, AiError.AiError | Cause.Done> = Effect.suspend(() =>
    Effect.matchEffect(
      within(isFinished ? drain : callee.timeout, () => reader.read(), ignore),
      {
        onFailure: (error): Effect.Effect<never, AiError.AiError | Cause.Done> => {
          if (isFinished) return Cause.done()
          if (error instanceof Late) controller.abort()
          return fail(error)
        },
        onSuccess: ({ done, value }) => {
          if (done) return isFinished ? Cause.done() : fail(new Known(Errors.cut()))
          return Effect.matchEffect(take(value), {
            onFailure: fail,
            onSuccess: (parts) => {
              const shown = answer === undefined ? parts : parts.flatMap((part) => answer.read(part))
              return isFilled(shown) ? Effect.succeed(shown) : next
            }
          })
        }
      }
    )
  )
  return next
}

const isFilled = (parts: ReadonlyArray<Response.StreamPartEncoded>): parts is Parts => parts.length > 0

/** What stands in a stream in place of a part. */
class InStream extends Error {
  readonly error: unknown

  constructor(error: unknown) {
    super("an error in the stream")
    this.error = error
  }
}

/** The error of a call that failed in any way. */
export const errorOf = (error: unknown, failing: Errors.Failing, now: number): AiError.AiError => {
  if (error instanceof Known) return Errors.ofProblem(error.problem, failing, now)
  if (error instanceof Late) return Errors.ofProblem({ kind: "timeout", message: error.message }, failing, now)
  return error instanceof InStream ? Errors.ofStreamed(error.error, failing, now) : Errors.ofThrown(error, failing, now)
}

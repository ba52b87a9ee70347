/** Asks a model for an answer as it streams, and reads it. */
import type { LanguageModelV4StreamPart } from "@ai-sdk/provider"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { AnswerReader } from "../../internal/model/typedOutput.ts"
import * as Errors from "./errors.ts"
import { failWith, Known, reading } from "./failed.ts"
import { OwnCalls } from "./ownCalls.ts"
import * as Parts from "./parts.ts"
import { RawChunks } from "./rawChunks.ts"
import type { Callee, Question } from "./talk.ts"
import { within } from "./waiting.ts"

/** The parts of an answer as they come. Closing the scope aborts the request and gives the stream up. */
export const streamed = (
  callee: Callee,
  question: Question
): Effect.Effect<Stream.Stream<Response.StreamPartEncoded, AiError.AiError>, AiError.AiError, Scope.Scope> =>
  Effect.gen(function* () {
    const { failing, options } = question
    const { model, timeout } = callee
    const controller = yield* Effect.acquireRelease(
      Effect.sync(() => new AbortController()),
      (controller) => Effect.sync(() => controller.abort())
    )
    // For servers that no package is made for.
    const includeRawChunks = failing.provider.package === undefined
    const ask = () => model.doStream({ ...options, includeRawChunks, abortSignal: controller.signal })
    const opened = within(timeout, ask, () => controller.abort())
    const { stream } = yield* Effect.catch(opened, failWith(failing))
    const reader = yield* Effect.acquireRelease(
      Effect.sync(() => stream.getReader()),
      (reader) => Effect.sync(() => void reader.cancel().catch(ignore))
    )
    return Stream.fromPull(Effect.succeed(pullOf(reader, callee, question, controller)))
  })

/** After the end of an answer its body is read to the end, so that the connection can be used again, but not for long. */
const drain = Duration.millis(100)

const ignore = (): void => {}

type Some = [Response.StreamPartEncoded, ...Array<Response.StreamPartEncoded>]

const pullOf = (
  reader: ReadableStreamDefaultReader<LanguageModelV4StreamPart>,
  callee: Callee,
  question: Question,
  controller: AbortController
): Effect.Effect<Some, AiError.AiError | Cause.Done> => {
  const incoming = new Incoming(callee, question)
  const fail = failWith(question.failing)
  const next: Effect.Effect<Some, AiError.AiError | Cause.Done> = Effect.suspend(() =>
    Effect.matchEffect(
      within(incoming.isFinished ? drain : callee.timeout, () => reader.read(), ignore),
      {
        onFailure: (error): Effect.Effect<never, AiError.AiError | Cause.Done> => {
          if (incoming.isFinished) return Cause.done()
          if (error instanceof Known && error.problem.kind === "timeout") controller.abort()
          return fail(error)
        },
        onSuccess: ({ done, value }) => {
          if (done) return incoming.isFinished ? Cause.done() : fail(new Known(Errors.cut()))
          return Effect.matchEffect(incoming.take(value), {
            onFailure: fail,
            onSuccess: (parts) => (isFilled(parts) ? Effect.succeed(parts) : next)
          })
        }
      }
    )
  )
  return next
}

const isFilled = (parts: ReadonlyArray<Response.StreamPartEncoded>): parts is Some => parts.length > 0

/** Reads the parts of one answer. */
class Incoming {
  readonly #callee: Callee
  readonly #options: Question["options"]
  readonly #answer: AnswerReader | undefined
  readonly #calls = new OwnCalls<Response.StreamPartEncoded>()
  #isCalling = false
  #passedOver = false
  readonly #raw = new RawChunks()
  isFinished = false

  constructor(callee: Callee, { answerTool, options }: Question) {
    this.#callee = callee
    this.#options = options
    this.#answer = answerTool === undefined ? undefined : new AnswerReader(answerTool)
  }

  take(part: LanguageModelV4StreamPart): Effect.Effect<ReadonlyArray<Response.StreamPartEncoded>, unknown> {
    switch (part.type) {
      case "stream-start":
        return Effect.as(this.#callee.warn(part.warnings ?? [], this.#options), [])
      case "raw":
        return Effect.sync(() => {
          this.#raw.read(part.rawValue)
          return []
        })
      case "error":
        return this.#error(part.error)
      case "finish":
        return this.#finish(part)
      default: {
        this.#isCalling ||= Parts.isOwnCall(part)
        const unread = Parts.unreadIn(part)
        return unread.length === 0
          ? this.#read(this.#raw.named(part))
          : Effect.as(this.#callee.warn(unread, this.#options), [])
      }
    }
  }

  #read(part: LanguageModelV4StreamPart): Effect.Effect<ReadonlyArray<Response.StreamPartEncoded>, unknown> {
    return reading(() => this.#shown(Parts.streamed(part, this.#callee.model.provider)))
  }

  #error(error: unknown): Effect.Effect<ReadonlyArray<Response.StreamPartEncoded>, unknown> {
    const beside = Errors.isBeside(error) ? [] : this.#raw.beside(error)
    if (beside === undefined) return Effect.fail(error instanceof Error ? error : new Known(Errors.ofStreamed(error)))
    this.#passedOver = true
    return Effect.map(
      Effect.forEach(beside, (part) => this.#read(part)),
      (read) => read.flat()
    )
  }

  #shown(parts: ReadonlyArray<Response.StreamPartEncoded>): ReadonlyArray<Response.StreamPartEncoded> {
    const once = parts.flatMap((part) => this.#calls.read(part))
    const answer = this.#answer
    return answer === undefined ? once : once.flatMap((part) => answer.read(part))
  }

  #finish({
    finishReason,
    usage
  }: Extract<LanguageModelV4StreamPart, { type: "finish" }>): Effect.Effect<
    ReadonlyArray<Response.StreamPartEncoded>,
    unknown
  > {
    // An event that was passed over has taken the place of the reason.
    const isLost = this.#passedOver && finishReason?.unified === "error" && finishReason.raw === undefined
    const given = isLost ? this.#raw.reason : finishReason
    const reason = Parts.reasonOf(given, this.#isCalling)
    // Providers that lose the connection close the answer with no reason of the model's.
    if (reason === undefined || (reason === "other" && given?.raw === undefined)) {
      return Effect.fail(new Known(Errors.cut()))
    }
    this.isFinished = true
    return reading(() => this.#shown([Parts.finish(reason, usage)]))
  }
}

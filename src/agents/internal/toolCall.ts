/**
 * Calls a tool by the handler that it carries or that its toolkit has, and decodes what comes back.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Prompt from "effect/ai/Prompt"
import type * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import type { Any as AgentTool, ToolContext } from "../../AgentTool.ts"
import { issuesOf, encodeError } from "../../internal/issues.ts"
import { toJson } from "../../internal/json.ts"
import * as Spans from "../../internal/telemetry.ts"
import { takesNothing } from "../../internal/toolDefinition.ts"
import { failureToJson } from "../../internal/toolFunction.ts"
import { lastForked } from "../../internal/trueExit.ts"
import type { Call } from "./turnCollector.ts"
import { codecsOf } from "./toolCodecs.ts"
import { badArguments, crashed, describe, Failure } from "./toolFailure.ts"

/** The result of a tool, for the model. */
export interface Value {
  readonly result: Schema.Json
  readonly modelOutput: ReadonlyArray<Prompt.ToolModelOutputPart> | undefined
}

/** Calls a tool that carries its handler. */
export const callDirect = (
  entry: AgentTool,
  call: Call,
  context: Omit<ToolContext, "signal">,
  onPromise: () => void
): Effect.Effect<Value, Failure> => {
  const { decode, encode } = codecsOf(entry.tool)
  const read = (result: unknown) =>
    Effect.mapBoth(encode(result), {
      onSuccess: (encoded): Value => ({ result: toJson(encoded), modelOutput: entry.tool.toModelOutput?.(result) }),
      onFailure: (error) => new Failure(error, { error: encodeError(error) }, false)
    })
  return decode(call.params).pipe(
    Effect.mapError((error) => badArguments(error, issuesOf(error))),
    Effect.flatMap((params) =>
      Effect.mapError(
        entry.execute(params, context, onPromise) as Effect.Effect<unknown, unknown>,
        (error) => new Failure(error, failureToJson(error), false)
      )
    ),
    Effect.flatMap(read)
  )
}

/** A final or preliminary answer of a toolkit's handler. */
interface Handled {
  readonly result: unknown
  readonly encodedResult: unknown
  readonly modelOutput?: ReadonlyArray<Prompt.ToolModelOutputPart>
  readonly isFailure: boolean
  readonly failureOrigin?: Tool.FailureOrigin
  readonly preliminary: boolean
}

/** Callbacks of a call of a toolkit's handler. */
export interface Listener {
  readonly progress: (result: unknown) => Effect.Effect<void>
  /** Is given the fiber in which effect/ai runs the handler. */
  readonly onHandler: (fiber: Fiber.Fiber<unknown, unknown> | undefined) => void
}

/** Calls a tool whose handler its toolkit has. */
export const callToolkit = Effect.fnUntraced(function* (
  tool: Tool.Any,
  call: Call,
  toolkit: Toolkit.WithHandler<Record<string, Tool.Any>>,
  { onHandler, progress }: Listener
): Effect.fn.Return<Value, Failure> {
  const span = yield* Effect.serviceOption(Tracer.ParentSpan)
  const params = takesNothing(tool) ? {} : call.params
  const begun = Effect.flatMap(toolkit.handle(call.name, params, call.id), (stream) =>
    Effect.withFiber((fiber) => {
      onHandler(lastForked(fiber))
      return Effect.succeed(stream)
    })
  )
  const handled = Stream.unwrap(begun) as Stream.Stream<Handled, unknown>
  let last: Handled | undefined
  const drain = Stream.runForEach(handled, (one) => {
    if (one.preliminary) return progress(one.encodedResult)
    last = one
    return Effect.void
  })
  yield* (
    span._tag === "Some" && span.value._tag === "Span"
      ? Effect.provideService(drain, Tracer.ParentSpan, Spans.withoutArguments(span.value))
      : drain
  ).pipe(
    Effect.catchCause((cause) => {
      const found = Cause.findFail(cause)
      if (found._tag === "Failure") return Effect.failCause(cause as Cause.Cause<never>)
      const reason = found.success
      const origin = reason.annotations.has(Toolkit.FailureOrigin.key)
        ? (reason.annotations.get(Toolkit.FailureOrigin.key) as Tool.FailureOrigin)
        : undefined
      return Effect.fail(describe(tool, reason.error, origin))
    }),
    Effect.catch((failure) => withAllIssues(call, tool, failure))
  )
  if (last === undefined) return yield* Effect.fail(crashed(new Error("its handler ended without a result")))
  if (last.isFailure) return yield* withAllIssues(call, tool, describe(tool, last.result, last.failureOrigin))
  return { result: toJson(last.encodedResult), modelOutput: last.modelOutput }
})

/** `effect/ai` reports the first issue only; a model that sees all of them can fix the arguments at once. */
const withAllIssues = (call: Call, tool: Tool.Any, failure: Failure): Effect.Effect<never, Failure> =>
  failure.always
    ? Effect.matchEffect(codecsOf(tool).decode(call.params), {
        onFailure: (error) => Effect.fail(badArguments(failure.cause, issuesOf(error))),
        onSuccess: () => Effect.fail(failure)
      })
    : Effect.fail(failure)

/** What a journal keeps of a tool call: its result, or its failure as the model sees it. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import * as Schema from "effect/Schema"
import type { Any as AgentTool } from "../../AgentTool.ts"
import { type Form, formOf, journalOf, keep } from "../../internal/journaled.ts"
import type { Place } from "../../internal/place.ts"
import { isPassedOn } from "../../internal/resumption.ts"
import { EndsRun, InMemory, markOf, Resumable } from "../../internal/toolMarks.ts"
import type { Value } from "./toolCall.ts"
import { brokenOff, Failure, isForProgram } from "./toolFailure.ts"

/**
 * Runs a tool as a step of the journal, and says by `note` whether it is made or was kept. What a runner does is kept inside of it, and
 * what changes only memory is done again: of those nothing is said.
 */
export const keptTool = (
  entry: Tool.Any | AgentTool,
  place: Place,
  work: Effect.Effect<Value, Failure>,
  note: (isMade: boolean) => void
): Effect.Effect<Value, Failure> =>
  Effect.withFiber((fiber) => {
    const journal = journalOf(fiber)
    if (journal === undefined) return work
    const tool = "kind" in entry ? entry.tool : entry
    const isRunner = ("kind" in entry && entry.runner !== undefined) || markOf(tool, Resumable)
    if (isRunner || markOf(tool, EndsRun) || markOf(tool, InMemory)) return work
    const idempotent = markOf(tool, Tool.Idempotent) || markOf(tool, Tool.Readonly)
    note(false)
    // A tool that is interrupted from within has failed, unless it sleeps.
    const whole = Effect.catchCause(work, (cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.flatMap(journal.suspending, (asleep) => (asleep ? Effect.failCause(cause) : Effect.fail(brokenOff())))
        : Effect.failCause(cause)
    )
    const made = Effect.suspend(() => {
      note(true)
      return whole
    })
    return keep(journal, { key: place.own, kind: "tool", name: tool.name, idempotent }, made, keptValue, keptFailure)
  })

const ValueForm = formOf(
  Schema.Struct({
    result: Schema.Json,
    modelOutput: Schema.optionalKey(Schema.Array(Prompt.ToolModelOutputPart))
  })
)

const keptValue: Form<Value> = {
  encode: ({ modelOutput, result }) =>
    ValueForm.encode({ result, ...(modelOutput === undefined ? {} : { modelOutput }) }),
  decode: (json) => ({ modelOutput: undefined, ...ValueForm.decode(json) })
}

const FailureForm = formOf(Schema.Struct({ result: Schema.Json, always: Schema.Boolean }))

/**
 * A kept failure is JSON: its cause is lost when the run is made again. A mistake in the program's setup is not kept, because the
 * program can be corrected, and neither is a run that waits inside of the tool.
 */
const keptFailure: Form<Failure> = {
  encode: ({ always, cause, result }) =>
    isForProgram(cause) || isPassedOn(cause) ? undefined : FailureForm.encode({ result, always }),
  decode: (json) => {
    const { always, result } = FailureForm.decode(json)
    return new Failure(result, result, always)
  }
}

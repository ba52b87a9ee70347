/** An agent's definition, checked, as its loop uses it. */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import type * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import type * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import type { CallSettings } from "../../services/ModelInfo.ts"
import type { Any as ToolSource } from "../../ToolSource.ts"
import type { Own } from "./middlewareStages.ts"
import type { OutputSpec } from "./structuredOutput.ts"
import type { Retry } from "./toolRetry.ts"
import type * as ToolSet from "./toolSet.ts"

/** The argument of `stopWhen` and `toolChoice`. */
export interface StepInfo {
  /** The step that has just ended, or that begins; counted from 1. */
  readonly step: number
  /** The text of the step that has just ended. */
  readonly text: string
  /** The tool calls of the step that has just ended, in the order asked. */
  readonly toolCalls: ReadonlyArray<{
    readonly id: string
    readonly tool: string
    readonly params: unknown
    readonly result: Schema.Json
    readonly isFailure: boolean
  }>
  /** Summed over the run so far. */
  readonly usage: Response.Usage
  readonly transcript: Prompt.Prompt
}

/** What bounds an agent, and how its model is asked: the same for all agents that say nothing of it. */
export interface Limits {
  readonly toolConcurrency: number
  readonly toolTimeout: Duration.Duration | undefined
  readonly toolRetry: Retry | undefined
  readonly onMaxSteps: "fail" | "answer"
  readonly maxToolCalls: number
  readonly maxToolCallsPerStep: number
  readonly onMaxToolCalls: "return" | "fail"
  readonly onLength: "fail" | "accept"
  readonly maxAnswerSize: number
  readonly outputRepairs: number
  readonly retry: Schedule.Schedule<unknown, AiError.AiError> | "none" | undefined
  /** How its model is to answer: what it has set itself; `undefined` for nothing. */
  readonly settings: CallSettings | undefined
}

/** Everything an agent's definition says, checked and made ready. */
export interface AgentSpec {
  readonly name: string
  readonly description: string | undefined
  readonly instructions: string | ((input: Prompt.RawInput) => Effect.Effect<string, unknown, unknown>)
  readonly toolkit:
    | Toolkit.Toolkit<Record<string, Tool.Any>>
    | Toolkit.WithHandler<Record<string, Tool.Any>>
    | undefined
  /** The tools that are always there. */
  readonly tools: ToolSet.ToolSet
  /** Where more come from at each step. */
  readonly sources: ReadonlyArray<ToolSource>
  readonly toolChoice: LanguageModel.ToolChoice<string> | ((info: StepInfo) => LanguageModel.ToolChoice<string>)
  readonly maxSteps: number
  readonly limits: Limits
  readonly stopWhen: ((info: StepInfo) => boolean | Effect.Effect<boolean, unknown, unknown>) | undefined
  readonly output: OutputSpec | undefined
  /** Encodes the output as JSON. */
  readonly encode: (output: unknown) => Schema.Json
  /** The agent's own middleware. */
  readonly middleware: Own | undefined
}

/**
 * Decides what a model's answer leads to: the output, another step, tool calls, or an error. Handles answers that are
 * empty, cut off, refused, paused, or of the wrong shape.
 */
import * as Effect from "effect/Effect"
import * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import { loopMessage } from "../../internal/input.ts"
import type { RunState } from "../../internal/runState.ts"
import * as RunError from "../../RunError.ts"
import type { Call, Turn } from "./turnCollector.ts"
import type { OutputSpec } from "./structuredOutput.ts"
import type { AgentSpec } from "./agentSpec.ts"
import * as Transcript from "./transcript.ts"

/** How the run continues after a step. */
export type Next = { readonly done: false } | { readonly done: true; readonly output: unknown }
/** Another step. */
export const continueLoop: Next = { done: false }

/** Resolves the turns of one run. */
export class TurnResolver {
  readonly #spec: AgentSpec
  readonly #state: RunState
  readonly #transcript: Transcript.Transcript
  /** How often the model was asked to correct its output. */
  repairs = 0
  /** Set when only the answer is wanted any more: why tools cannot be called. */
  closed: string | undefined
  #truncatedCalls = 0
  #nudged = false
  /** The text of the answer before the model paused. */
  #paused = ""

  constructor(spec: AgentSpec, state: RunState, transcript: Transcript.Transcript) {
    this.#spec = spec
    this.#state = state
    this.#transcript = transcript
  }

  /** Counts on what the resolver of a suspended run has counted. */
  goOn(counted: (name: string) => number): void {
    this.repairs = counted("repairs")
    this.#truncatedCalls = counted("truncated calls")
    this.#nudged = counted("empty turns") > 0
  }

  /** What was counted, for a run that waits. */
  get counts(): Readonly<Record<string, number>> {
    const emptyTurns = this.#nudged ? 1 : 0
    return { repairs: this.repairs, "truncated calls": this.#truncatedCalls, "empty turns": emptyTurns }
  }

  /** Decides by the finish reason, the calls and the text of an answer; `"calls"` when its calls have to be made. */
  resolveTurn(turn: Turn, step: number): Effect.Effect<Next | "calls", unknown, unknown> {
    const { finishReason, calls } = turn
    const text = this.#paused + turn.text
    this.#paused = ""
    if (finishReason === "content-filter") {
      if (calls.length > 0) this.#refuseCalls(turn, step, "the model's answer was stopped")
      return Effect.fail(new RunError.ModelRefused({ ...this.#transcript.failure(), text }))
    }
    if (calls.length > 0) {
      if (finishReason === "length") return this.#refuseCutCalls(turn, step)
      if (this.closed === undefined) return Effect.succeed("calls")
      this.#refuseCalls(turn, step, `${this.closed}; answer with what you have`)
      return Effect.succeed(continueLoop)
    }
    if (finishReason === "pause") {
      this.#paused = text
      return Effect.succeed(continueLoop)
    }
    const isCut = finishReason === "length" && this.#spec.limits.onLength === "fail"
    // A model that thinks can spend all its tokens before it has said a word.
    if (text.trim() === "" && !turn.hasFiles && !isCut) return this.#nudge(turn, step)
    if (this.#spec.output !== undefined) return this.#decode(this.#spec.output, text, finishReason, step)
    if (isCut) return Effect.fail(new RunError.OutputTruncated({ ...this.#transcript.failure(), text }))
    return Effect.succeed({ done: true, output: text })
  }

  /** Calls of an answer that was cut off are not run: their arguments may be incomplete. */
  #refuseCutCalls(turn: Turn, step: number): Effect.Effect<Next, RunError.OutputTruncated> {
    this.#refuseCalls(turn, step, "the answer was cut off at the token limit, so the arguments may be incomplete")
    if (++this.#truncatedCalls > 1) {
      return Effect.fail(new RunError.OutputTruncated({ ...this.#transcript.failure(), text: turn.text }))
    }
    return Effect.succeed(continueLoop)
  }

  /** Answers calls that are not made, so that the transcript stays valid and the bill complete. */
  #refuseCalls(turn: Turn, step: number, why: string): void {
    this.#transcript.messages.push(Prompt.toolMessage({ content: this.refuse(turn.calls, step, why) }))
  }

  /** The results of calls that are not made. */
  refuse(calls: ReadonlyArray<Call>, step: number, why: string): Array<Prompt.ToolResultPart> {
    return calls.map((call) => {
      this.#state.bill.addToolCall(step, call.id, call.name)
      return Transcript.result(call, { error: `not executed: ${why}` }, true)
    })
  }

  #nudge(turn: Turn, step: number): Effect.Effect<Next, RunError.EmptyTurn> {
    if (this.#nudged) {
      return Effect.fail(
        new RunError.EmptyTurn({ ...this.#transcript.failure(), step, finishReason: turn.finishReason })
      )
    }
    this.#nudged = true
    this.#transcript.messages.push(loopMessage("You gave no answer and called no tool. Go on."))
    return Effect.succeed(continueLoop)
  }

  #decode(
    output: OutputSpec,
    text: string,
    finishReason: Response.FinishReason,
    step: number
  ): Effect.Effect<Next, unknown, unknown> {
    return output.decode(text).pipe(
      Effect.map((value): Next => ({ done: true, output: value })),
      Effect.catch((issue) => {
        if (this.repairs >= this.#spec.limits.outputRepairs) {
          return Effect.fail(
            new RunError.InvalidOutput({
              ...this.#transcript.failure(),
              text,
              finishReason,
              issue,
              attempts: this.repairs + 1
            })
          )
        }
        this.repairs++
        const cut = finishReason === "length" ? " It was cut off at the token limit: be shorter." : ""
        this.#transcript.messages.push(
          loopMessage(
            `Your answer does not fit the required output: ${issue}.${cut} Answer again. ${output.instruction}`
          )
        )
        return Effect.as(this.#state.events.emit({ _tag: "OutputRejected", step, issue }), continueLoop)
      })
    )
  }
}

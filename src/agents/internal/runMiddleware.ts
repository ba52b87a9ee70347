/** Runs an agent's loop through the middleware that is around its runs. */
import { answerText } from "../../internal/input.ts"
import * as Effect from "effect/Effect"
import * as Prompt from "effect/ai/Prompt"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import { inAttempts } from "../../internal/attempts.ts"
import { textOfJson } from "../../internal/json.ts"
import { type Entry, middlewareError } from "../../internal/middleware.ts"
import type { RunState } from "../../internal/runState.ts"
import type { AgentSpec } from "./agentSpec.ts"
import { compose, type Stage } from "./middlewareStages.ts"
import * as Transcript from "./transcript.ts"

type AnyEffect = Effect.Effect<unknown, unknown, unknown>

const isOutput = Schema.is(Schema.Struct({ output: Schema.Json }))

/** What the loop gives, and the conversation that it ended with. */
interface Ended {
  readonly value: unknown
  readonly transcript: Prompt.Prompt
}
type Loop = (input: Prompt.RawInput) => Effect.Effect<Ended, unknown, unknown>

/** Runs `loop` with the input, through middleware. An input that is not a conversation goes to the loop as it is. */
export const runThrough = (
  stages: ReadonlyArray<Stage>,
  spec: AgentSpec,
  input: Prompt.RawInput,
  state: RunState,
  loop: Loop
): AnyEffect => {
  const prompt = Transcript.promptOf(input)
  if (typeof prompt === "string") return Effect.map(loop(input), ({ value }) => value)
  const { path, runId } = state.info
  return inAttempts(`${runId}/attempts`, JSON.stringify(path), (attempt) => {
    const runs = new Runs(spec, state, (input) => attempt(loop(input)))
    const request = { path, runId, prompt }
    const caller = {
      path,
      placeOf: ({ definition }: Entry) => state.place.middleware(definition.name),
      refuseRequest: (changed: unknown) =>
        Prompt.isPrompt((changed as { readonly prompt?: unknown } | undefined)?.prompt)
          ? undefined
          : "it called next with something that is not a run's request",
      refuseAnswer: (answer: unknown) =>
        isOutput(answer) ? undefined : "it returned something that is not a run's output, { output } as JSON",
      onRepeat: runs.onRepeat,
      onReplace: runs.onReplace
    }
    const through = compose(stages, caller, (changed) => {
      const given = (changed as typeof request).prompt
      return runs.next(given === prompt ? input : given)
    })
    return Effect.withFiber((fiber) =>
      Effect.flatMap(through(request, fiber.context), (answer) =>
        runs.end(answer as { readonly output: Schema.Json }, prompt.content)
      )
    )
  })
}

/** The runs of the loop that middleware asks for. */
class Runs {
  readonly #spec: AgentSpec
  readonly #state: RunState
  readonly #loop: Loop
  /** The events of one run have one order, so the loop runs once at a time. */
  readonly #turns = Semaphore.makeUnsafe(1)
  readonly #values = new WeakMap<object, unknown>()
  #count = 0
  /** Whether the loop began and did not come to its end. */
  #isBroken = false
  #by: Entry | undefined

  constructor(spec: AgentSpec, state: RunState, loop: Loop) {
    this.#spec = spec
    this.#state = state
    this.#loop = loop
  }

  readonly onRepeat = (entry: Entry): void => {
    this.#by = entry
  }

  readonly onReplace = (entry: Entry): void => {
    this.#by = entry
  }

  next(input: Prompt.RawInput): AnyEffect {
    const once = Effect.suspend(() => {
      this.#isBroken = true
      return ++this.#count === 1 ? this.#loop(input) : Effect.andThen(this.#begin("runs it again"), this.#loop(input))
    })
    return Effect.map(this.#turns.withPermits(1)(once), ({ transcript, value }) => {
      this.#isBroken = false
      const answer = { output: this.#spec.encode(value), transcript }
      this.#values.set(answer, value)
      return answer
    })
  }

  /** What the run gives: what the loop gave where that was not replaced, or the new output, decoded. */
  end(answer: { readonly output: Schema.Json }, given: ReadonlyArray<Prompt.Message>): AnyEffect {
    if (this.#values.has(answer)) return Effect.succeed(this.#values.get(answer))
    // A run that has handed its conversation over has no output.
    if (this.#state.handedOver) return Effect.succeed(undefined)
    if (this.#count === 0) this.#answerFor(answer.output, given)
    const decoded = this.#decode(answer.output)
    if (!this.#isBroken) return decoded
    this.#count++
    return Effect.andThen(this.#begin("answers in its place"), decoded)
  }

  /** Voids what was emitted of the attempts before. */
  #begin(what: string): Effect.Effect<void> {
    this.#state.beginAgain()
    const { events } = this.#state
    const reason = `middleware "${this.#name}" ${what}`
    return events.emit({ _tag: "RunRetried", attempt: this.#count, discardFrom: events.startSeq + 1, reason })
  }

  /** The conversation of a run without a step is the input and what was answered. */
  #answerFor(output: Schema.Json, given: ReadonlyArray<Prompt.Message>): void {
    new Transcript.Transcript(this.#state).begin([...given, answerText(textOfJson(output))])
  }

  #decode(output: Schema.Json): AnyEffect {
    const { output: shape } = this.#spec
    const fail = (problem: string) =>
      Effect.fail(
        middlewareError(
          this.#state.info.path,
          this.#name,
          new Error(`the output that it returned does not fit: ${problem}`)
        )
      )
    if (shape !== undefined) return Effect.catch(shape.decode(JSON.stringify(output)), fail)
    return typeof output === "string" ? Effect.succeed(output) : fail("it is not a text")
  }

  get #name(): string {
    return this.#by?.definition.name ?? ""
  }
}

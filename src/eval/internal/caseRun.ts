/** Runs one case: the runner, its events and its bill. What it fails with, and its defects, are part of what is returned. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { exactJson } from "../../internal/fingerprint.ts"
import { toJson } from "../../internal/json.ts"
import { codec } from "../../internal/jsonForm.ts"
import { encodeOutput, outputOf } from "../../internal/runnerSchemas.ts"
import { isTerminal, RunEvent } from "../../RunEvent.ts"
import * as Runner from "../../Runner.ts"
import { textOf } from "./scorer.ts"
import { withoutVoid } from "./toolUse.ts"
import type { Spending } from "./types.ts"

/** How a run failed. */
export interface RunFailure {
  /** The tag of its error, such as "ModelError"; "Error" for one without. */
  readonly tag: string
  readonly message: string
}

/** A run that has ended. */
export interface Outcome {
  readonly output: unknown
  readonly outputJson: Schema.Json
  readonly failure: RunFailure | undefined
  readonly events: ReadonlyArray<RunEvent>
  readonly spent: Spending
  readonly runId: string | undefined
}

/** How many events of a run scorers see. */
export const maxEvents = 5000
/** What scorers do not see: the output holds the text. */
export const deltas: ReadonlySet<RunEvent["_tag"]> = new Set(["TextDelta", "ReasoningDelta", "ToolParamsDelta"])

type AnyRunner = Runner.Runner<unknown, unknown, unknown, unknown>

/** Runs a case. */
export const runCase = (runner: AnyRunner, input: unknown): Effect.Effect<Outcome, never, unknown> =>
  Effect.suspend(() => {
    const events: Array<RunEvent> = []
    let last: RunEvent | undefined
    let meter: Runner.Meter | undefined
    const observed = Runner.onEvent(
      Runner.metered(runner, (own) => {
        meter = own
      }),
      (event) =>
        Effect.sync(() => {
          last = event
          if (!deltas.has(event._tag) && events.length < maxEvents) events.push(event)
        })
    )
    return Effect.gen(function* () {
      const begun = yield* Clock.currentTimeMillis
      const exit = yield* Effect.exit(observed.run(input))
      const durationMs = (yield* Clock.currentTimeMillis) - begun
      // The last one says what was spent, and may be beyond the limit.
      if (last !== undefined && events.at(-1) !== last && isTerminal(last)) events.push(last)
      const kept = withoutVoid(events)
      return {
        output: Exit.isSuccess(exit) ? exit.value : undefined,
        outputJson: Exit.isSuccess(exit) ? encodeOutput(runner, exit.value) : null,
        failure: Exit.isSuccess(exit) ? undefined : failureOf(exit.cause),
        events: kept,
        spent: spendingOf(kept, meter === undefined ? 0 : meter.cost, durationMs),
        runId: events[0]?.runId
      }
    })
  })

const failureOf = (cause: Cause.Cause<unknown>): RunFailure => {
  const error = Cause.squash(cause)
  const tag = Predicate.hasProperty(error, "_tag") ? String(error._tag) : "Error"
  return Cause.hasInterruptsOnly(cause)
    ? { tag: "Interrupted", message: "the run interrupted itself" }
    : { tag, message: textOf(error) }
}

/** What a run has used, by its last event. */
export const spendingOf = (events: ReadonlyArray<RunEvent>, cost: number | undefined, durationMs: number): Spending => {
  const end = events.findLast(isTerminal)
  const inputTokens = end?.spent.usage.inputTokens.total ?? 0
  const outputTokens = end?.spent.usage.outputTokens.total ?? 0
  return {
    inputTokens,
    outputTokens,
    tokens: inputTokens + outputTokens,
    steps: end?.spent.steps ?? 0,
    toolCalls: events.filter(({ _tag }) => _tag === "ToolCompleted" || _tag === "ToolFailed").length,
    cost,
    durationMs
  }
}

/** What is kept of a run. */
const Kept = Schema.Struct({
  output: Schema.Json,
  events: Schema.Array(RunEvent),
  cost: Schema.NullOr(Schema.Finite),
  durationMs: Schema.Finite
})
const keptText = Schema.fromJsonString(Kept)
const encodeKept = Schema.encodeOption(keptText)
const decodeKept = Schema.decodeOption(keptText)

/** The longest text of a run that is kept. */
const maxKept = 4_000_000

/** A run as text, to be kept; `undefined` for one that failed, and for one whose output would not be the same again. */
export const keep = (
  runner: AnyRunner,
  { events, failure, output, outputJson, spent }: Outcome
): string | undefined => {
  if (failure !== undefined || (outputOf(runner) === undefined && exactJson(output) === undefined)) return undefined
  const { cost = null, durationMs } = spent
  const encoded = encodeKept({ output: outputJson, events, cost, durationMs })
  return Option.getOrUndefined(Option.filter(encoded, ({ length }) => length <= maxKept))
}

/** The run that was kept; `undefined` for what cannot be read. */
export const restore = (runner: AnyRunner, text: string): Outcome | undefined =>
  Option.getOrUndefined(
    Option.flatMap(decodeKept(text), ({ cost, durationMs, events, output: outputJson }) =>
      Option.map(decodeOutput(outputOf(runner), outputJson), (output) => ({
        output,
        outputJson,
        failure: undefined,
        events,
        spent: spendingOf(events, cost ?? undefined, durationMs),
        runId: events[0]?.runId
      }))
    )
  )

const decodeOutput = (schema: Schema.Top | undefined, json: Schema.Json): Option.Option<unknown> =>
  schema === undefined
    ? Option.some(json)
    : Schema.decodeUnknownOption(codec("Eval", schema, "output") as Schema.Codec<unknown, unknown>)(json)

/** The input of a case as JSON, for reports and keys. */
export const inputJson = (schema: Schema.Top | undefined, input: unknown): Schema.Json => {
  if (schema === undefined || typeof input === "string") return toJson(input)
  const encode = Schema.encodeUnknownOption(schema as Schema.Codec<unknown, unknown>)
  return toJson(Option.getOrElse(encode(input), () => input))
}

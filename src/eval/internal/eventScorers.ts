/** Scorers of what a run did: its tool calls and what it used. They score runs that failed too. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import { cut } from "../../internal/text.ts"
import { assertName, assertOptions, durationOf, numberOf } from "../../internal/definition.ts"
import { hash } from "../../internal/fingerprint.ts"
import { toJson } from "../../internal/json.ts"
import { InvalidDefinition } from "../../RunError.ts"
import { make, type Scorer } from "./scorer.ts"
import { fits, sameJson, type ToolUse, toolUses } from "./toolUse.ts"
import type { Scored, Spending, Verdict } from "./types.ts"

/** Looks at runs, and needs nothing. */
export type OfEvents = Scorer<unknown, unknown, unknown>

const ofEvents = (name: string, settings: unknown, verdict: (scored: Scored) => Verdict): OfEvents =>
  make({
    name,
    version: hash(toJson(settings)),
    onFailure: "score",
    score: (scored: Scored) => Effect.sync(() => verdict(scored))
  })

/** Which arguments a call has: all of these fields, more may be there; or a function that says so. */
export type Params = Schema.Json | ((params: Schema.Json) => boolean)

const hasParams = (use: ToolUse, params: Params | undefined): boolean =>
  params === undefined || (typeof params === "function" ? params(use.params) : fits(use.params, params))

const settingOf = (params: Params | undefined): unknown =>
  typeof params === "function" ? String(params) : (params ?? null)

/** Options of {@link toolCalled}. */
export interface ToolCalledOptions {
  /** How often: exactly so many times, or between two numbers. Default: at least once. */
  readonly times?: number | { readonly min?: number | undefined; readonly max?: number | undefined } | undefined
  /** Counts calls with these arguments only: all of these fields, more may be there. */
  readonly params?: Params | undefined
}

/** Whether a tool was called, how often, and with what. */
export const toolCalled = (tool: string, options: ToolCalledOptions = {}): OfEvents => {
  assertName("the tool of Eval.toolCalled", tool, 'Write Eval.toolCalled("search")')
  assertOptions("Eval.toolCalled", options, new Set(["times", "params"]))
  const { params, times = { min: 1 } } = options
  const { max = Infinity, min = 0 } = typeof times === "number" ? { min: times, max: times } : times
  return ofEvents(`${tool} called`, ["toolCalled", tool, min, String(max), settingOf(params)], ({ events }) => {
    const calls = toolUses(events).filter((use) => use.tool === tool)
    const count = calls.filter((use) => hasParams(use, params)).length
    if (count >= min && count <= max) return true
    const others = calls.length > count ? `, and ${calls.length - count} times with other arguments` : ""
    return { score: 0, reason: `called ${count} times${others}, not ${countText(min, max)}` }
  })
}

const countText = (min: number, max: number): string =>
  min === max ? String(min) : max === Infinity ? `at least ${min}` : `${min} to ${max}`

/** A call that is expected: the name of a tool, or with arguments. */
export type ExpectedCall = string | { readonly tool: string; readonly params?: Params | undefined }

/** How calls are compared: see {@link trajectory}. */
export type TrajectoryMode = "exact" | "in-order" | "any-order"

/**
 * Whether the tool calls of a run are those that are expected. `"exact"`: these and no others, in this order. `"in-order"`
 * (default): these in this order, others may stand between them. `"any-order"`: these, with any others. The score is the share
 * of expected calls that were found, and 0 for `"exact"` where there are others.
 */
export const trajectory = (
  expected: ReadonlyArray<ExpectedCall>,
  options: { readonly mode?: TrajectoryMode | undefined; readonly name?: string | undefined } = {}
): OfEvents => {
  assertOptions("Eval.trajectory", options, new Set(["mode", "name"]))
  const { mode = "in-order", name = "trajectory" } = options
  const calls = expected.map((one) => (typeof one === "string" ? { tool: one, params: undefined } : one))
  const settings = calls.map(({ params, tool }) => [tool, settingOf(params)])
  return ofEvents(name, ["trajectory", mode, settings], ({ events }) => {
    const uses = toolUses(events)
    const found = mode === "any-order" ? inAnyOrder(uses, calls) : inOrder(uses, calls)
    const isOther = mode === "exact" && uses.length !== calls.length
    if (found === calls.length && !isOther) return true
    const reason = `called ${cut(uses.map(({ tool }) => tool).join(", ") || "nothing", 500)}`
    return { score: isOther || calls.length === 0 ? 0 : found / calls.length, reason }
  })
}

type Call = Exclude<ExpectedCall, string>

const isCall = (use: ToolUse, { params, tool }: Call): boolean => use.tool === tool && hasParams(use, params)

const inOrder = (uses: ReadonlyArray<ToolUse>, calls: ReadonlyArray<Call>): number => {
  // The longest part of the expected calls that stands in this order.
  let row = Array.from({ length: calls.length + 1 }, () => 0)
  for (const use of uses.slice(0, 2000)) {
    const next = [0]
    for (const [index, call] of calls.entries()) {
      next.push(isCall(use, call) ? row[index]! + 1 : Math.max(row[index + 1]!, next[index]!))
    }
    row = next
  }
  return row[calls.length]!
}

const inAnyOrder = (uses: ReadonlyArray<ToolUse>, calls: ReadonlyArray<Call>): number => {
  const left = [...uses]
  return calls.filter((call) => {
    const at = left.findIndex((use) => isCall(use, call))
    if (at >= 0) left.splice(at, 1)
    return at >= 0
  }).length
}

/** Whether no tool call failed. */
export const noToolFailures: OfEvents = ofEvents("no tool failures", ["noToolFailures"], ({ events }) => {
  const failed = toolUses(events).filter(({ outcome }) => outcome === "failed")
  if (failed.length === 0) return true
  const names = [...new Set(failed.map(({ tool }) => tool))].join(", ")
  return { score: 0, reason: `${failed.length} calls failed: ${cut(names, 500)}` }
})

/** Whether no tool was called twice with the same arguments. */
export const noRepeatedCalls: OfEvents = ofEvents("no repeated calls", ["noRepeatedCalls"], ({ events }) => {
  const uses = toolUses(events).slice(0, 500)
  const again = uses.find((use, index) =>
    uses.slice(0, index).some((other) => other.tool === use.tool && sameJson(other.params, use.params))
  )
  return again === undefined ? true : { score: 0, reason: `${again.tool} was called again with the same arguments` }
})

/** The most that a run may use, in {@link atMost}. */
export interface Limits {
  /** US dollars, by `Prices`. A run whose price is not known has no score. */
  readonly cost?: number | undefined
  /** Of input and output. */
  readonly tokens?: number | undefined
  readonly steps?: number | undefined
  readonly toolCalls?: number | undefined
  readonly time?: Duration.Input | undefined
}

const units = { cost: "$", tokens: "tokens", steps: "steps", toolCalls: "tool calls", durationMs: "ms" } as const

/** Whether a run used at most so much. Throws `InvalidDefinition` without a limit. */
export const atMost = (limits: Limits): OfEvents => {
  assertOptions("Eval.atMost", limits, new Set(["cost", "tokens", "steps", "toolCalls", "time"]))
  const { time, ...counts } = limits
  const all: { readonly [K in keyof typeof units]?: number | undefined } = {
    ...counts,
    ...(time === undefined ? {} : { durationMs: Duration.toMillis(durationOf("Eval.atMost", "time", time)) })
  }
  for (const [limit, value] of Object.entries(counts)) if (value !== undefined) numberOf("Eval.atMost", limit, value)
  const entries = Object.entries(all).filter((entry): entry is [keyof typeof units, number] => entry[1] !== undefined)
  if (entries.length === 0) {
    throw new InvalidDefinition({
      subject: "Eval.atMost",
      problem: "it has no limit",
      remedy: "Give it one: Eval.atMost({ steps: 3 })"
    })
  }
  const name = `at most ${entries.map(([unit, limit]) => amount(unit, limit)).join(", ")}`
  return ofEvents(name, ["atMost", all], ({ spent }) => within(spent, entries))
}

const within = (spent: Spending, limits: ReadonlyArray<readonly [keyof typeof units, number]>): Verdict => {
  const over = limits.filter(([unit, limit]) => (spent[unit] ?? 0) > limit)
  if (over.length > 0) {
    return { score: 0, reason: `used ${over.map(([unit]) => amount(unit, spent[unit] ?? 0)).join(", ")}` }
  }
  if (limits.some(([unit]) => spent[unit] === undefined)) {
    return { score: null, reason: "the price of a model is not known: add it with Prices.layer" }
  }
  return true
}

const amount = (unit: keyof typeof units, value: number): string =>
  unit === "cost" ? `$${value}` : `${value} ${units[unit]}`

/**
 * What a run has spent so far, the runs nested in it included: usage and steps; and what it has to show for it: the text of
 * its last step, its tool calls and why its last model call ended. Only this module writes any of it.
 */
import type * as Response from "effect/ai/Response"
import type { Spent, ToolCallReport, ToolCallStatus } from "../RunEvent.ts"
import { makeUsage } from "./usage.ts"

interface Totals {
  input: number | undefined
  cacheRead: number | undefined
  cacheWrite: number | undefined
  output: number | undefined
  reasoning: number | undefined
}

const kinds = ["input", "cacheRead", "cacheWrite", "output", "reasoning"] as const

const totalsOf = ({ inputTokens, outputTokens }: Response.Usage): Totals => ({
  input: inputTokens.total,
  cacheRead: inputTokens.cacheRead,
  cacheWrite: inputTokens.cacheWrite,
  output: outputTokens.total,
  reasoning: outputTokens.reasoning
})

const plus = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : a + b
const minus = (a: number | undefined, b: number | undefined, c: number | undefined): number | undefined =>
  a === undefined ? undefined : Math.max(0, a - (b ?? 0) - (c ?? 0))

/** What is left of a usage without a part of it. */
export const usageLeft = (whole: Response.Usage, part: Response.Usage): Response.Usage => {
  const bill = new Bill(undefined)
  bill.addUsage(whole)
  return bill.usageSince(part)
}

/** A tool call of a run, and its outcome so far. */
export class ToolCallEntry implements ToolCallReport {
  readonly step: number
  readonly toolCallId: string
  readonly tool: string
  #status: ToolCallStatus = "not-started"

  constructor(step: number, toolCallId: string, tool: string) {
    this.step = step
    this.toolCallId = toolCallId
    this.tool = tool
  }

  get status(): ToolCallStatus {
    return this.#status
  }

  mark(status: ToolCallStatus): void {
    this.#status = status
  }
}

/** A bill at some moment. */
export interface Moment {
  readonly usage: Response.Usage
  readonly steps: number
  /** `undefined` as in {@link Bill.cost}. */
  readonly cost: number | undefined
}

interface Answer {
  readonly finishReason: Response.FinishReason
  readonly text: string
  readonly usage: Response.Usage
}

const hasBegun = (status: ToolCallStatus): boolean =>
  status !== "not-started" && status !== "denied" && status !== "waiting"

/** The bill of one run. */
export class Bill {
  readonly #parent: Bill | undefined
  readonly #toolCalls: Array<ToolCallEntry> = []
  readonly #totals: Totals = {
    input: undefined,
    cacheRead: undefined,
    cacheWrite: undefined,
    output: undefined,
    reasoning: undefined
  }
  #text = ""
  #cost: number | undefined = undefined
  #isUnpriced = false
  #steps = 0
  #modelCalls = 0
  #finishReason: Response.FinishReason | undefined = undefined

  constructor(parent: Bill | undefined) {
    this.#parent = parent
  }

  /** Steps begun in this run and the runs nested in it. */
  get steps(): number {
    return this.#steps
  }

  /** How often the run itself has called a model. */
  get modelCalls(): number {
    return this.#modelCalls
  }

  /** How many tools the run itself has begun to run. */
  get toolCalls(): number {
    let count = 0
    for (const { status } of this.#toolCalls) if (hasBegun(status)) count++
    return count
  }

  /** Why the run's own last model call ended; `undefined` before that. */
  get finishReason(): Response.FinishReason | undefined {
    return this.#finishReason
  }

  get usage(): Response.Usage {
    const { input, cacheRead, cacheWrite, output, reasoning } = this.#totals
    return makeUsage({
      inputTokens: { uncached: minus(input, cacheRead, cacheWrite), total: input, cacheRead, cacheWrite },
      outputTokens: { total: output, text: minus(output, reasoning, undefined), reasoning }
    })
  }

  /** US dollars so far; `undefined` where nothing was used, or the price of something that was is not known. */
  get cost(): number | undefined {
    return this.#isUnpriced ? undefined : this.#cost
  }

  /** What it is at this moment, to be compared with later. */
  get moment(): Moment {
    return { usage: this.usage, steps: this.#steps, cost: this.cost }
  }

  /** Tokens used so far, input and output. */
  get tokens(): number {
    return (this.#totals.input ?? 0) + (this.#totals.output ?? 0)
  }

  /** Counts a step, or several, in this run and every run above it. */
  addStep(count = 1): void {
    for (let bill: Bill | undefined = this; bill !== undefined; bill = bill.#parent) bill.#steps += count
  }

  /** What has been counted since `before`, which is the usage of an earlier moment. */
  usageSince(usage: Response.Usage): Response.Usage {
    const before = totalsOf(usage)
    const sum = new Bill(undefined)
    for (const kind of kinds) {
      const now = this.#totals[kind]
      sum.#totals[kind] = now === undefined ? undefined : now - (before[kind] ?? 0)
    }
    return sum.usage
  }

  /** What has been spent in US dollars since `before`, which is the cost of an earlier moment. */
  costSince(before: number | undefined): number | undefined {
    const { cost } = this
    return cost === undefined ? undefined : cost - (before ?? 0)
  }

  /** Counts usage in this run and every run above it, with what it cost where that is known. */
  addUsage(usage: Response.Usage, cost?: number): void {
    const added = totalsOf(usage)
    const isUsed = (added.input ?? 0) + (added.output ?? 0) > 0
    for (let bill: Bill | undefined = this; bill !== undefined; bill = bill.#parent) {
      if (cost !== undefined) bill.#cost = (bill.#cost ?? 0) + cost
      else if (isUsed) bill.#isUnpriced = true
      for (const kind of kinds) bill.#totals[kind] = plus(bill.#totals[kind], added[kind])
    }
  }

  /** Notes that a model call begins, also one more for the same step: the text of the step is void. */
  beginCall(): void {
    this.#modelCalls++
    this.#text = ""
  }

  /** Adds to the text of the step under way. */
  addText(delta: string): void {
    this.#text += delta
  }

  /** The text of the step under way is void. */
  dropText(): void {
    this.#text = ""
  }

  /** Notes a whole answer of the model, with what it cost where that is known. */
  addAnswer({ finishReason, text, usage }: Answer, cost?: number): void {
    this.#text = text
    this.#finishReason = finishReason
    this.addUsage(usage, cost)
  }

  /** Notes a tool call that the model asked for, which is marked as not started. */
  addToolCall(step: number, toolCallId: string, tool: string): ToolCallEntry {
    const entry = new ToolCallEntry(step, toolCallId, tool)
    this.#toolCalls.push(entry)
    return entry
  }

  /** The bill so far. Tool calls under way count as they are marked, which is `interrupted` or `unknown`. */
  spent(): Spent {
    const { cost } = this
    return {
      usage: this.usage,
      ...(cost === undefined ? {} : { cost }),
      steps: this.#steps,
      text: this.#text,
      toolCalls: this.#toolCalls.map(({ status, step, tool, toolCallId }) => ({ step, toolCallId, tool, status }))
    }
  }
}

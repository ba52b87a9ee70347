/**
 * Stops an agent that makes the same tool call over and over: a call that has given the same result several times is not made
 * again, and the model sees why; a model that goes on all the same fails the run.
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Prompt from "effect/ai/Prompt"
import type * as Schema from "effect/Schema"
import { assertOptions, countOf, namesOf } from "../internal/definition.ts"
import { canonical } from "../internal/fingerprint.ts"
import { isOfLoop } from "../internal/input.ts"
import { toJson } from "../internal/json.ts"
import * as Middleware from "../Middleware.ts"
import { LoopDetected } from "../RunError.ts"

/** Options of {@link make}. */
export interface Options {
  /** How often a call may be made with the same arguments and the same result. Default 3. */
  readonly repeats?: number | undefined
  /** How often the model may ask for it after that, before the run fails. Default 3. */
  readonly warnings?: number | undefined
  /** How many of the last tool calls are looked at. Default 30. */
  readonly within?: number | undefined
  /** Tools whose calls may repeat, such as one that waits for something. */
  readonly except?: ReadonlyArray<string> | undefined
}

/**
 * Makes the middleware that stops loops. Calls are compared by tool, arguments and result; a call whose result differs from time
 * to time does not count, nor do those before the user's last message, such as of earlier turns of a session. Fails with `LoopDetected`. Throws `InvalidDefinition` for counts that are not whole numbers from 1.
 *
 * @example
 * import { Agent, LoopGuard } from "troupe"
 *
 * const agent = Agent.make("agent", { middleware: [LoopGuard.make({ repeats: 3, except: ["job_status"] })] })
 */
export const make = (options: Options = {}): Middleware.Middleware<LoopDetected> => {
  const { except = [], repeats = 3, warnings = 3, within = 30 } = options
  assertOptions("loop guard", options, namesOf<Options>({ repeats: true, warnings: true, within: true, except: true }))
  for (const [option, value] of Object.entries({ repeats, warnings, within })) countOf("loop guard", option, value)
  return Middleware.make("loop guard", {
    tool: (call, next) => {
      if (except.includes(call.tool)) return next(call)
      const { made, warned } = countsOf(call, within)
      if (made < repeats) return next(call)
      if (warned >= warnings) {
        const { path, step, tool } = call
        // The agent adds the conversation on the way out.
        return Effect.fail(new LoopDetected({ path, step, tool, count: made + warned + 1, transcript: Prompt.empty }))
      }
      const error = `${marker} "${call.tool}" has given the same result ${made} times with these arguments. It was not called again. Do something else, or answer with what you have.`
      return Effect.succeed(Middleware.outcome({ error }, { isFailure: true }))
    }
  })
}

/** How a result begins that stands for a call that was not made. */
const marker = "You repeat yourself:"

const isWarning = (result: unknown): boolean => {
  const error = Predicate.hasProperty(result, "error") ? result.error : undefined
  return typeof error === "string" && error.startsWith(marker)
}

/** How often the call was made with one and the same result, the last one, and how often it was refused since. */
const countsOf = (call: Middleware.ToolCall, within: number): { readonly made: number; readonly warned: number } => {
  const wanted = keyOf(call.tool, call.params)
  let made = 0
  let warned = 0
  let result: string | undefined
  for (const one of lastCalls(call.prompt, within)) {
    if (keyOf(one.call.name, toJson(one.call.params)) !== wanted) continue
    if (isWarning(one.result)) {
      if (made === 0) warned++
      continue
    }
    const given = canonical(toJson(one.result))
    result ??= given
    if (given !== result) break
    made++
  }
  return { made, warned }
}

const keyOf = (tool: string, params: Schema.Json): string => `${tool} ${canonical(params)}`

interface Made {
  readonly call: Prompt.ToolCallPart
  readonly result: unknown
}

/** The last calls since the user's last message that have a result, the latest first. */
const lastCalls = ({ content }: Prompt.Prompt, within: number): ReadonlyArray<Made> => {
  const made: Array<Made> = []
  const results = new Map<string, unknown>()
  for (let at = content.length - 1; at >= 0 && made.length < within; at--) {
    const message = content[at]!
    if (message.role === "user" && !isOfLoop(message)) break
    if (message.role === "tool") {
      for (const part of message.content) if (part.type === "tool-result") results.set(part.id, part.result)
    }
    if (message.role !== "assistant") continue
    for (const part of message.content.toReversed()) {
      if (part.type !== "tool-call" || !results.has(part.id)) continue
      made.push({ call: part, result: results.get(part.id) })
      results.delete(part.id)
    }
  }
  return made
}

/** Checks of the definitions of ready-made middleware. */
import { assertOptions, invalid, kindOf } from "../../internal/definition.ts"
import { isRunner } from "../../Runner.ts"

/** Throws unless `check` is a function or a runner, and `options` has no other fields than `known`. */
export const assertCheck = (name: string, check: unknown, options: object, known: ReadonlyArray<string>): void => {
  const subject = `guardrail "${name}"`
  assertOptions(subject, options, new Set(known))
  if (typeof check === "function" || isRunner(check)) return
  throw invalid(
    subject,
    `its check is ${kindOf(check)}, not a function or a runner`,
    "Give it a function that returns an Effect of a verdict, or a runner whose output is a verdict"
  )
}

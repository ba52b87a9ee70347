/** Plans for tests: by hand, one after the other, and steps that say what they were given. */
import { Cause, Data, Effect, Exit } from "effect"
import type { PlanExecuteEvaluate, RunEvent } from "troupe"
import { assert } from "vitest"

export class Broken extends Data.TaggedError("Broken")<{ readonly what: string }> {
  override get message(): string {
    return `${this.what} broke`
  }
}

export type Given = PlanExecuteEvaluate.StepLike
export const step = (id: string, dependsOn: ReadonlyArray<string> = [], more: Partial<Given> = {}): Given => ({
  id,
  task: `do ${id}`,
  dependsOn,
  ...more
})
export const planOf = (...steps: ReadonlyArray<Given>): PlanExecuteEvaluate.PlanLike => ({ steps })
export const fixed = (...steps: ReadonlyArray<Given>) => Effect.succeed(planOf(...steps))
/** Gives these plans one after the other, and keeps its inputs. */
export const planning = (...plans: ReadonlyArray<PlanExecuteEvaluate.PlanLike>) => {
  const requests: Array<PlanExecuteEvaluate.Request<unknown>> = []
  const planner = (request: PlanExecuteEvaluate.Request<unknown>) =>
    Effect.sync(() => {
      requests.push(request)
      return plans[requests.length - 1] ?? assert.fail("asked for one plan too many")
    })
  return { planner, requests }
}
export const echo = ({ results, step }: PlanExecuteEvaluate.Task<unknown>) =>
  Effect.succeed(`${step.id}(${Object.values(results).join()})`)
export const paths = (events: ReadonlyArray<RunEvent.RunEvent>) =>
  events.flatMap((event) => (event._tag === "RunStarted" ? [event.path.join(">")] : []))
export const failureOf = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isFailure(exit) ? Cause.squash(exit.cause) : assert.fail("it did not fail")
